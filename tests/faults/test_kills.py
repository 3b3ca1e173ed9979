"""Commands are killed at durable operations and at random, and end as if they had not been.

The long part kills 1,000 times in all (TTS_FAULTS_KILLS and TTS_FAULTS_SEED change number and seed).
"""

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults import figures
from tests.faults.commands import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
SEED = int(os.environ.get("TTS_FAULTS_SEED", 0))
KILLS = int(os.environ.get("TTS_FAULTS_KILLS", 1000))
pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL and fork")


def killed(*commands, kills):
    """What comes out of killing commands, each so many times, in a process of their own."""
    words = [
        sys.executable,
        "-m",
        "tests.faults.kills",
        *commands,
        "--kills",
        str(kills),
        "--seed",
        str(SEED),
    ]
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def bad(outcome):
    return sum(outcome[kind] for kind in ("blocked", "different", "lost", "damaged"))


def test_a_few_kills_change_nothing():
    for outcome in killed("sample more", "fetch", kills=8):
        assert sum(outcome["kills"].values()) >= 8 and outcome["operations"] > 20
        assert not bad(outcome), outcome["words"]


def share(command):
    """How often one command is killed: a build is as long as the others together."""
    weights = {name: 0.4 if name == "lab build" else 1.0 for name in COMMANDS}
    return math.ceil(KILLS * weights[command] / sum(weights.values()))


@pytest.mark.faults
@pytest.mark.parametrize("command", COMMANDS)
def test_many_kills_change_nothing(command):
    (outcome,) = killed(command, kills=share(command))
    tried = sum(outcome["kills"].values())
    for where, count in outcome["kills"].items():
        print(f"{command}: {count} kills, {where}")
    figures.note("kills", command, tried, bad(outcome), seconds=outcome["seconds"], seed=SEED)
    assert not bad(outcome), outcome["words"]
