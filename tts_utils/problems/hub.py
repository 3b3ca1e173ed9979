"""Read a data set of the Hugging Face Hub; which configuration and split are read is never a guess."""

from __future__ import annotations

from typing import Any

from tts_utils.problems.errors import ProblemError

HUB_DATASETS = {
    "MATH-500": "HuggingFaceH4/MATH-500++test",
    "AIME24": "HuggingFaceH4/aime_2024++train",
    "AMC23": "math-ai/amc23++test",
    "GSM8K": "openai/gsm8k+main+test",
    "OlympiadBench": "Hothan/OlympiadBench+OE_TO_maths_en_COMP+train",
}
"""Names for sets of the Hub, each as "owner/name+configuration+split"; without a configuration "++"."""


def read_hub(name: str) -> tuple[str, list[tuple[str, dict[str, Any]]]]:
    """Return what was read, in words, and its rows, each with its place.

    Args:
        name: one of ``HUB_DATASETS``, or "owner/name", "owner/name+configuration",
            "owner/name+configuration+split"; an empty part is none named. Without a split it is "test", or
            the only one.

    Raises:
        ProblemError: ``datasets`` is not installed, the Hub cannot give the set, or the split or
            configuration is not named and there are several; the message lists them.
    """
    try:
        import datasets
    except ImportError as exc:
        raise ProblemError(
            f"data set {name!r} comes from the Hugging Face Hub, which needs: pip install datasets; "
            "or give the path of a .jsonl file"
        ) from exc
    repo, configuration, split = (*HUB_DATASETS.get(name, name).split("+"), "", "")[:3]
    try:
        splits = datasets.load_dataset(repo, configuration) if configuration else datasets.load_dataset(repo)
    except Exception as exc:  # the Hub client has no common base for its errors
        hint = ""
        if "config" in str(exc).casefold() and not configuration:
            hint = f"; name one of them: {repo}+CONFIGURATION or {repo}+CONFIGURATION+SPLIT"
        raise ProblemError(f"could not load {repo!r} from the Hugging Face Hub: {exc}{hint}") from exc
    there = list(splits)
    if not split:
        split = "test" if "test" in there else there[0] if len(there) == 1 else ""
    if split not in there:
        asked = f"has no split {split!r}" if split else "has several splits and none is called 'test'"
        example = f"{repo}+{configuration}+{there[0]}"
        raise ProblemError(f"{repo} {asked}; there is {', '.join(there)}: name one, such as {example}")
    source = f"{repo}, {f'configuration {configuration}, ' if configuration else ''}split {split}"
    return source, [(f"{repo}, {split} row {i}", dict(row)) for i, row in enumerate(splits[split])]
