"""What the system refuses, in a sentence: which file, what is safe, and the way out."""

from __future__ import annotations

import errno

_SAFE = "What was finished before is kept, and the same command goes on from there"

_WAYS_OUT = {
    errno.ENOSPC: "the disk is full; make room",
    errno.EDQUOT: "your quota of the disk is used up; make room",
    errno.EROFS: "it lies on a file system that is read-only; set TTS_DATA to a folder that can be written",
    errno.EACCES: "permission denied; ask for the right to it, or set TTS_DATA to a folder of your own",
    errno.EPERM: "permission denied; ask for the right to it, or set TTS_DATA to a folder of your own",
    errno.ENAMETOOLONG: "the name is too long for the file system; take a shorter one",
    errno.ENOENT: "it is not there, or has vanished meanwhile; put it back, or say where it is",
    errno.ENOTDIR: "a part of this path is a file where a folder is wanted; move it away",
    errno.EISDIR: "it is a folder where a file is wanted; move it away",
    errno.EEXIST: "it is there already as something else; move it away",
    errno.EMFILE: "too many files are open; close some, or raise the limit (ulimit -n)",
    errno.ENFILE: "too many files are open on this machine; close some",
    errno.EIO: "the disk fails to read or write it; check the disk",
    errno.ESTALE: "the network disk has lost it; mount it again",
}


def sentence(exc: BaseException) -> str | None:
    """What to tell a user of an error that is none of this package's own; None for what is a fault of ours.

    >>> sentence(OSError(errno.ENOSPC, "No space left on device", "data/x.parquet"))[:41]
    'data/x.parquet: the disk is full; make ro'
    """
    if isinstance(exc, BrokenPipeError):
        return None  # the reader of our output has gone: no error
    if isinstance(exc, OSError):
        named = " -> ".join(str(name) for name in (exc.filename, exc.filename2) if name is not None)
        what = _WAYS_OUT.get(exc.errno or 0, f"{exc.strerror or exc}; see what the system says of it")
        return f"{named or 'a file'}: {what}. {_SAFE}"
    if isinstance(exc, MemoryError) or type(exc).__name__ == "OutOfMemoryError":  # torch's is no MemoryError
        return f"out of memory ({exc!s:.200}); take a smaller --batch-size or model. {_SAFE}"
    if isinstance(exc, UnicodeEncodeError):
        return f"{exc.object!r:.80} is no text that can be written ({exc.reason}); give it in UTF-8"
    return None
