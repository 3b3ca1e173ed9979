"""What book/scale.md shows of commands is what they print, and its versions fit as tts doctor says."""

import re
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tts_utils import cli, versions

PAGE = Path(__file__).resolve().parent.parent / "book" / "scale.md"
PROMPT = "$ tts "


def shown() -> list[tuple[str, str]]:
    """The commands that the page shows with their output."""
    found = []
    for block in re.findall(r"^```\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S):
        for part in block.split(PROMPT)[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output))
    return found


def printed(command: str) -> str:
    """What a command prints, but for the lines that depend on how long it took."""
    result = CliRunner().invoke(cli.app, command.split())
    assert result.exit_code == 0, result.output
    return "".join(line for line in result.output.splitlines(True) if "nothing finished yet" not in line)


def rewrite() -> None:
    """Put into the page what the commands print now (python -m tests.test_scale_page)."""
    text = PAGE.read_text(encoding="utf-8")
    for command, output in shown():
        text = text.replace(f"{PROMPT}{command}\n{output}", f"{PROMPT}{command}\n{printed(command)}", 1)
    PAGE.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(("command", "output"), shown())
def test_what_is_shown_is_what_is_printed(command, output, tmp_path, monkeypatch):
    monkeypatch.setenv("TTS_DATA", str(tmp_path))
    monkeypatch.chdir(PAGE.parent.parent)
    assert printed(command) == output


def test_the_versions_that_fit_are_those_that_doctor_passes():
    rows = re.findall(r"^\| .+? \| (3\.\d+).*? \| (\d\S+) \| (\S+) \| (yes|no)\b", PAGE.read_text(), re.M)
    assert len(rows) == 7 and sum(fits == "no" for *_, fits in rows) == 1
    for python, torch, vllm, fits in rows:
        pins = versions.pins_of(vllm)
        least = ".".join(map(str, pins.transformers[0])) if pins else "5.5"
        there = {"torch": torch, "transformers": least, "vllm": vllm if pins else None}
        said = versions.complaints(there, versions.numbers(python), has_gpu="+cpu" not in torch)
        assert (not said) == (fits == "yes"), (there, said)


if __name__ == "__main__":
    rewrite()
    sys.exit()
