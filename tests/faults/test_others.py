"""Servers, checkpoints and disks that misbehave: their tests are short and always run; here they count."""

import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tests.faults import figures

ROOT = Path(__file__).resolve().parents[2]
CASES = {
    ("servers", "odd answers, delays and refusals"): ["tests/test_http.py", "tests/test_server.py"],
    ("checkpoints", "hostile ones, as policy and PRM on every backend"): [
        *("tests/test_hostile_checkpoints.py", "-k", "hostile_policy or hostile_prm or ask_for_it")
    ],
    ("checkpoints", "another template or configuration"): [
        *("tests/test_hostile_checkpoints.py", "tests/test_integrity.py", "-k", "settings or template")
    ],
    ("disks", "full, read-only, denied, gone, too long a name"): ["tests/test_complaints.py"],
}


@pytest.mark.faults
@pytest.mark.parametrize("case", CASES, ids=" ".join)
def test_what_is_promised_elsewhere(case, tmp_path):
    report = tmp_path / "report.xml"
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}"]
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([*words, *CASES[case]], cwd=ROOT, env=env, capture_output=True, text=True)
    suite = ElementTree.parse(report).getroot().find("testsuite")
    failed = int(suite.get("failures")) + int(suite.get("errors"))
    tried = int(suite.get("tests")) - int(suite.get("skipped"))
    figures.note(*case, tried, failed)
    assert tried and not failed and done.returncode == 0, done.stdout[-3000:]
