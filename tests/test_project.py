"""What holds the project together besides code: versions, addresses, hosted checks, tables in the history."""

import importlib.util
import re
import subprocess
import tomllib
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

import tts_utils
from tts_utils.store import fetch

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def load_script(name: str):
    spec = importlib.util.spec_from_file_location("script", ROOT / name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tables = load_script(".ci/tables.py")


@pytest.fixture
def repository(tmp_path):
    """A repository with one committed table, which holds a NaN and a list."""
    frame = pa.Table.from_pandas(
        pd.DataFrame({"score": [0.5, float("nan"), 1.0] * 50, "steps": [[1.0], [], [0.25, 0.5]] * 50})
    )
    table = tmp_path / "data/step_scores/t.parquet"
    table.parent.mkdir(parents=True)
    pq.write_table(frame, table, compression="zstd", compression_level=9)
    for words in (
        ["init", "-q"],
        ["add", "-A"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "1"],
    ):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    return tmp_path, table, frame


def test_a_table_packed_anew_with_the_same_rows_is_refused(repository):
    root, table, frame = repository
    assert tables.rewritten(root, "HEAD") == []
    old = table.read_bytes()
    pq.write_table(frame, table, compression="zstd", compression_level=1, row_group_size=7)
    assert table.read_bytes() != old
    assert tables.rewritten(root, "HEAD") == ["data/step_scores/t.parquet"]


def test_a_table_whose_rows_or_notes_changed_may_be_rewritten(repository):
    root, table, frame = repository
    pq.write_table(frame.slice(1), table)
    assert tables.rewritten(root, "HEAD") == []
    pq.write_table(frame.replace_schema_metadata({"tts.sources": "others"}), table)
    assert tables.rewritten(root, "HEAD") == []
    table.unlink()
    pq.write_table(frame, root / "data/new.parquet")
    assert tables.rewritten(root, "HEAD") == []


def test_the_placeholder_is_the_one_that_fetch_knows():
    address = PROJECT["urls"]["Repository"]
    assert address == fetch.PLACEHOLDER or "OWNER" not in address


def test_the_citation_names_this_version_and_address():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert str(citation["version"]) == tts_utils.__version__
    assert citation["repository-code"] == PROJECT["urls"]["Repository"]
    assert citation["license"] == PROJECT["license"] and citation["references"][0]["year"] == 2025


def test_the_changelog_begins_with_what_is_not_released_and_knows_this_version():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.*)", text, flags=re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert any(heading.startswith(tts_utils.__version__) for heading in headings)


@pytest.mark.parametrize("path", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda path: path.name)
def test_hosted_files_parse_and_call_what_exists(path):
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    runs = [step["run"] for job in content.get("jobs", {}).values() for step in job["steps"] if "run" in step]
    for target in re.findall(r"make ([a-z]+)", " ".join(runs)):
        assert f"\n{target}:" in (ROOT / "Makefile").read_text(encoding="utf-8")
    for script in re.findall(r"(?:^|\s)(\.ci/\w+|book/\w+\.py)", " ".join(runs)):
        assert (ROOT / script).is_file()


def test_the_hosted_check_is_the_local_one():
    checks = yaml.safe_load((ROOT / ".github/workflows/checks.yml").read_text(encoding="utf-8"))
    assert {"run": ".ci/run", "env": {"PYTHON": "python"}} in checks["jobs"]["checks"]["steps"]


def test_every_extra_that_a_message_names_exists():
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tts_utils").rglob("*.py"))
    named = set(re.findall(r"tts-utils\[(\w+)\]", sources + (ROOT / "README.md").read_text(encoding="utf-8")))
    assert named and named <= set(PROJECT["optional-dependencies"])


def test_findings_run_by_themselves_and_say_what_they_must():
    for path in (ROOT / "findings").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        for word in ("Expected:", "Found:", "Matters:", "Here:", "Upstream:"):
            assert word in text, f"{path.name} lacks {word}"
