"""``tts`` in processes of their own that start at once: forked from one that has imported what it needs."""

from __future__ import annotations

import multiprocessing
import os
import sys
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

from tests import fakes
from tts_utils import cli, policies

_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Apart:
    """A command that runs, and the file that holds what it prints, errors too."""

    process: BaseProcess
    printed: Path

    def end(self, seconds: float = 120) -> int | None:
        """Wait for it; its exit status, as in :class:`subprocess.Popen`, or None where it goes on."""
        self.process.join(seconds)
        return self.process.exitcode

    @property
    def text(self) -> str:
        return self.printed.read_text(encoding="utf-8")


def start(words: list[str], data: Path, printed: Path, seconds: float) -> Apart:
    """Start ``tts`` with a policy that takes so many seconds for a call."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])  # heeded by the first start
    process = context.Process(target=_run, args=(words, data, printed, seconds))
    process.start()
    return Apart(process, printed)


def _run(words: list[str], data: Path, printed: Path, seconds: float) -> None:
    os.chdir(_ROOT)
    os.environ |= {"TTS_DATA": str(data)}
    out = open(printed, "w", encoding="utf-8")  # noqa: SIM115  (open to the end of the process)
    os.dup2(out.fileno(), 1)
    os.dup2(out.fileno(), 2)
    sys.argv = ["tts", *words]
    policies.load_policy = lambda name, **options: fakes.Slow(name=name, seconds=seconds)
    cli.app()
