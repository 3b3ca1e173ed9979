"""tts doctor: versions that fit each other, the Hub and its token, GPUs with and without torch, what fits."""

import http.server
import importlib.util
import re
import sys
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tts_utils import cli, devices, hub_access, versions
from tts_utils.policies.vllm import SUPPORTED
from tts_utils.recipes import fitting, memory, of_table, plan

SECRET = "hf_abcdefghijklmnop"
T4 = devices.Device("Tesla T4", "cuda", 15.8e9, 15.5e9, 1, (7, 5))


def doctor(*words: str) -> str:
    result = CliRunner().invoke(cli.app, ["doctor", *words])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(autouse=True)
def somewhere(tmp_path, monkeypatch):
    """An empty data directory, no token, and no Hub."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_ENDPOINT", "HF_TOKEN_PATH", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("TTS_DATA", str(tmp_path / "data"))
    return tmp_path


# --- versions


def fit(torch, transformers, vllm, python=(3, 12), has_gpu=True):
    return versions.complaints({"torch": torch, "transformers": transformers, "vllm": vllm}, python, has_gpu)


@pytest.mark.parametrize(
    ("torch", "transformers", "vllm"),
    [
        ("2.11.0+cu130", "5.17.0", "0.26.0"),
        ("2.10.0+cu128", "5.6.0", "0.19.1"),
        ("2.13.0", "5.19.0", "0.32.0"),
        ("2.14.0", "5.20.3", "0.33.0"),
        ("2.8.0", "5.23.0", None),
        (None, None, None),
    ],
)
def test_versions_that_fit_are_passed(torch, transformers, vllm):
    assert fit(torch, transformers, vllm) == []


@pytest.mark.parametrize(
    ("have", "words"),
    [
        (("2.13.0", "5.6.0", "0.26.0"), "vLLM 0.26.0 works with torch 2.11.0 alone, and here is 2.13.0"),
        (("2.11.0+cu128", "5.15.0", "0.26.0"), "built for CUDA 13, and torch 2.11.0+cu128 for CUDA 12"),
        (("2.13.0", "5.20.0", "0.32.0"), "transformers >=5.16.1,<5.20, and here is 5.20.0"),
        ((None, None, "0.32.0"), "works with torch 2.13.0 alone, and here is none"),
        (("2.9.0", "4.57.0", None), "transformers 4.57.0 is installed, and this package works with >=5.5,<6"),
        (("2.1.0", "5.6.0", None), "torch 2.1.0 is installed, and this package works with >=2.6"),
        (("2.13.0+cpu", "5.6.0", None), "a CPU build, though there is a GPU"),
        (("2.9.0", "5.6.0", "0.18.0"), "vLLM 0.18.0 is installed, and this package works with >=0.19,<0.34"),
    ],
)
def test_versions_that_do_not_fit_are_named_with_what_would(have, words):
    assert any(words in line for line in fit(*have))


def test_pythons_without_a_wheel_are_named():
    assert "Python 3.10 to 3.13" in fit("2.10.0", "5.6.0", "0.19.1", python=(3, 14))[0]


def test_the_list_covers_what_the_backend_supports():
    lowest, beyond = SUPPORTED
    for minor in range(lowest[1], beyond[1]):
        assert versions.pins_of(f"0.{minor}.1"), minor
    assert not versions.pins_of(f"0.{beyond[1]}.0") and not versions.pins_of(f"0.{lowest[1] - 1}.0")


# --- the Hub


class Hub(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        good = self.headers.get("Authorization") == f"Bearer {SECRET}"
        self.send_response(200 if good else 401)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *args):
        pass


@pytest.fixture
def hub(monkeypatch):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.asked = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    yield server
    server.shutdown()
    server.server_close()


def test_the_hub_is_asked_and_the_token_is_never_shown(hub, monkeypatch, somewhere):
    assert "no token (HF_TOKEN) is set, so gated models such as Llama are closed" in doctor()
    (somewhere / "hf").mkdir()
    (somewhere / "hf" / "token").write_text(f"{SECRET}\n")
    out = doctor()
    assert "reached; it takes your token" in out and SECRET not in out
    assert hub.asked == [("/api/whoami-v2", None), ("/api/whoami-v2", f"Bearer {SECRET}")]
    monkeypatch.setenv("HF_TOKEN", SECRET[:-1])
    out = doctor()
    assert "it does not take your token" in out and SECRET[:-1] not in out


def test_no_hub_is_said_within_seconds(monkeypatch):
    assert "HF_HUB_OFFLINE is set" in doctor()
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_TOKEN", SECRET)
    out = doctor()
    assert "hub             not reached" in out and SECRET not in out and hub_access.TIMEOUT <= 5


# --- devices


def test_without_torch_it_says_everything_else(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(versions, "installed", lambda *names: None)
    monkeypatch.setitem(sys.modules, "torch", None)
    out = doctor()
    for words in (
        "torch           not installed",
        'torch and transformers for tts sample, score and search: pip install "tts-utils[models]"',
        'vllm for the same with vLLM, on a GPU, in an environment of its own: pip install "tts-utils[gpu]"',
        'ray for tts run --workers: pip install "tts-utils[cluster]"',
        "gpu             none",
        "memory          CPU, ",
        " GB free for models, in ",
    ):
        assert words in out


def test_a_gpu_is_described_and_what_fits_on_it(monkeypatch):
    monkeypatch.setattr(devices, "gpus", lambda: T4)
    out = doctor()
    assert "Tesla T4, 15.5 of 15.8 GB free" in out and 'dtype = "half"' in out
    assert "Skywork-o1-Open-PRM-Qwen-2.5-1.5B (16 bits, transformers) beside up to" in out


def test_a_gpu_that_torch_cannot_use_is_named(monkeypatch, tmp_path):
    tool = tmp_path / "nvidia-smi"
    tool.write_text('#!/bin/sh\necho "NVIDIA L4, 23034, 22000"\necho "NVIDIA L4, 23034, 20000"\n')
    tool.chmod(0o755)
    monkeypatch.setattr(devices, "gpus", lambda: None)
    monkeypatch.setattr(devices.shutil, "which", lambda name: str(tool))
    known = devices.installed_gpus()
    assert (known.name, known.count, round(known.total / 1e9, 1)) == ("NVIDIA L4", 2, 24.2)
    assert "2 x NVIDIA L4" in doctor() and "no GPU that torch can use" in doctor()
    for answer in ("echo nothing", "exit 9", "echo 'a, b, c'"):
        tool.write_text(f"#!/bin/sh\n{answer}\n")
        assert devices.installed_gpus() is None


# --- what fits


@pytest.mark.parametrize("gigabytes", [16, 24, 80])
def test_pairs_that_are_named_fit_and_the_next_larger_policy_does_not(gigabytes):
    gpu, order = devices.gpu(gigabytes), fitting.policies()
    found = list(fitting.pairs(gpu))
    assert len(found) >= 6
    for pair in found:
        models = {"policies": (pair.policy, pair.policy_bits, pair.policy_share)}
        models["prms"] = (pair.prm, pair.prm_bits, pair.prm_share)
        table = {"name": "x", "dataset": "MATH-500", "sampling": {"max_tokens": 2048}}
        table["methods"] = [{"method": "beam", "budgets": [4]}]
        for key, (name, bits, share) in models.items():
            options = fitting.SMALL | {"gpu_memory_utilization": share}
            options |= {"quantization": "bitsandbytes"} if bits == 4 else {}
            table[key] = [{"name": name, "backend": "vllm", "options": options}]
            if not share:
                table[key] = [{"name": name, "options": {"batch_tokens": 4096, "cache_bytes": 2**30}}]
        assert memory.complaints(plan.jobs(of_table(table), 500, Path("/nowhere")), gpu) == [], pair
        for larger in order[: order.index(pair.policy)]:
            assert fitting.pair(larger, pair.prm, pair.policy_bits, pair.prm_bits, gpu) is None


def test_doctor_on_a_gpu_that_is_not_here():
    out = doctor("--on", "24")
    assert "on a GPU of 24 GB" in out and "by arithmetic, not tried" in out
    assert re.search(r"Qwen2.5-Math-PRM-7B \(16 bits, share 0.66\) beside up to .*1.5B \(16 bits", out)
    assert "Qwen2.5-Math-PRM-72B: beside none; spread it over several GPUs" in out and "python" not in out
