"""The benchmarks run at toy size, and what they print is what they should find."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import __main__ as bench
from benchmarks import analysis, at_size, common, compare, generation, gpu, prm_scoring, ratios, search

torch = pytest.importorskip("torch")

from benchmarks import prm_tokens, workload  # noqa: E402
from tests import tiny  # noqa: E402

POLICY = "lab-llama-m"  # a small shipped policy; the reward model is untrained
DATASET = "lab-500"


@pytest.fixture(scope="module")
def prm(tmp_path_factory) -> str:
    """The folder of an untrained Math-Shepherd PRM."""
    folder = tmp_path_factory.mktemp("prm")
    tiny.tiny_model(1).save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    (folder / "tts_prm.json").write_text('{"format": "math-shepherd"}')
    return str(folder)


@pytest.fixture
def run(capsys):
    """What a benchmark prints when it is called with some options."""

    def printed(benchmark, *options: object) -> str:
        capsys.readouterr()
        benchmark.main([str(option) for option in options])
        return capsys.readouterr().out

    return printed


def tables(printed: str) -> list[list[dict[str, str]]]:
    """The Markdown tables of a text, as rows by column."""
    found = []
    for block in re.findall(r"(?:^\|.*\n)+", printed, flags=re.MULTILINE):
        head, _, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in block.splitlines()]
        found.append([dict(zip(head, row, strict=True)) for row in rows])
    return found


def number(cell: str) -> float:
    return float(cell.replace(",", ""))


@pytest.mark.parametrize("method", ["beam", "dvts"])
def test_search_in_lock_step_gives_the_same_trees_in_fewer_calls(run, prm, method):
    printed = run(
        search,
        *("--method", method, "--policy", POLICY, "--prm", prm, "--dataset", DATASET),
        *("--problems", 3, "--budget", 8, "--max-tokens", 32),
    )
    assert "3 of 3 trees of both sides are the same, node for node." in printed
    (plain, ours), depths, prm_tokens = tables(printed)
    assert number(ours["calls"]) == 2 * len(depths)  # one to the policy and one to the PRM
    assert {row["sample calls"] for row in depths} == {row["score calls"] for row in depths} == {"1"}
    assert depths[0]["beams continued"] == "6"  # 8 / 4 for each problem
    beams = sum(number(row["beams continued"]) for row in depths)
    assert number(plain["calls"]) >= beams > len(depths)  # each beam was a call, and each score another
    assert number(plain["policy passes"]) > number(ours["policy passes"])
    tokens = {row["PRM tokens"]: number(row["tokens"]) for row in prm_tokens}
    assert tokens["spent by the search"] == tokens["scoring every distinct node once"]
    assert tokens["scoring every leaf's whole path once"] < tokens["spent by the search"]


def test_search_stops_the_slow_side_in_time_and_says_so(run, prm):
    printed = run(
        search,
        *("--method", "beam", "--policy", POLICY, "--prm", prm, "--dataset", DATASET),
        *("--problems", 3, "--budget", 4, "--max-tokens", 32, "--naive-seconds", 0),
    )
    assert "One beam at a time was stopped after 0 s, at 1 problems." in printed
    assert "1 of 1 trees of both sides are the same" in printed


def test_trees_that_differ_are_refused(prm):
    from dataclasses import replace

    from tts_utils.prms import load_prm
    from tts_utils.records import SamplingConfig
    from tts_utils.search import run as run_search
    from tts_utils.tree_search import TreeSearch

    problem = common.spread(DATASET, 1)[0]
    policy, scorer = generation.load_policy(POLICY, "cpu"), load_prm(prm, "cpu")
    (tree,) = run_search([TreeSearch("beam", 4)(problem)], policy, scorer, SamplingConfig(max_tokens=32))
    search.check_same(tree, tree)
    node = tree.nodes[1]
    for change in ({"text": node.text + "?"}, {"num_prm_tokens": -1}, {"score": node.score + 0.01}):
        other = replace(tree, nodes=(tree.nodes[0], node._replace(**change), *tree.nodes[2:]))
        with pytest.raises(SystemExit, match="differ"):
            search.check_same(tree, other)
    with pytest.raises(SystemExit, match="differ"):
        search.check_same(tree, replace(tree, nodes=tree.nodes[:-1]))


def test_prm_scoring_in_batches_gives_the_same_scores_in_fewer_passes(run, prm):
    printed = run(
        prm_scoring,
        *("--policy", POLICY, "--prm", prm, "--dataset", DATASET, "--problems", 12, "--n", 8),
        *("--max-tokens", 96, "--repeats", 1, "--batch-tokens", 256, 4096),
    )
    (rows,) = tables(printed)
    passes = [number(row["forward passes"]) for row in rows]
    trajectories = int(re.search(r"(\d+) distinct trajectories", printed)[1])
    assert passes[0] == trajectories > passes[1] > passes[2] >= 1
    assert max(number(row["largest difference"]) for row in rows) < 1e-5
    assert rows[0]["against one sequence"] == "1"
    assert all(number(row["peak MiB"]) > 50 for row in rows)


def test_ratios_are_of_sides_that_ran_in_turn_and_count_the_tokens_that_are_run(run):
    printed = run(
        ratios,
        *("--policy", POLICY, "--prm", "lab-skywork-s", "--problems", 4, "--n", 2, "--budget", 8),
        *("--max-tokens", 12, "--batch", 4, "--pairs", 2, "--vocabulary", 5000),
    )
    timed, tokens = tables(printed)
    assert len(timed) == 4 and {row["pairs"] for row in timed} == {"2"}
    for row in timed:
        assert number(row["least"]) <= number(row["times faster"]) <= number(row["most"])
    for row in tokens:
        distinct, kept = number(row["distinct new"]), number(row["run, each step once"])
        assert distinct <= kept < number(row["run, reading all again"])
        assert distinct < number(row["charged"])


def test_the_same_build_compared_with_itself_has_the_same_results(run, monkeypatch, capsys):
    """One side in a process of its own, as both are; the other, in this one, spares the second start."""
    apart, asked = compare.timed, []

    def timed(build, work, count, prm):
        asked.append(build)
        if len(asked) % 2:
            return apart(build, work, count, prm)
        workload.main(work, count, prm)
        return json.loads(capsys.readouterr().out.splitlines()[-1])

    monkeypatch.setattr(compare, "timed", timed)
    printed = run(compare, compare.ROOT, "--work", "sampling", "--problems", 2, "--pairs", 1)
    assert len(asked) == 2
    (rows,) = tables(printed)
    assert {row["same result"] for row in rows} == {"yes"} and {row["part"] for row in rows} == {
        "all",
        "policy",
    }


def test_builds_with_different_results_are_refused():
    sides = [{"all": 1.0, "policy": 1.0, "PRM": 0.0, "result": name} for name in ("a", "b")]
    with pytest.raises(SystemExit, match="texts or trees differ"):
        compare.compare(lambda: sides[0], lambda: sides[1], "sampling", 1)


def test_a_search_at_size_counts_every_node_and_is_held_against_models(run):
    options = ["--problems", 2, 3, "--budget", 8, "--depth", 4, "--lab-problems", 1, "--speed", 1000]
    rows, (lab,) = tables(run(at_size, *options))
    assert [number(row["nodes"]) for row in rows] == [2 * 8 * 4, 3 * 8 * 4]
    for row in rows:
        driver = number(row["driver and store, us a node"])
        share = number(row["% of a search with 1B on a GPU"])
        assert share == pytest.approx(
            100 * driver / (driver + 20_000), rel=0.02
        )  # 20 tokens at 1000 a second
    costs = [number(lab[f"{part}, us a node"]) for part in ("policy", "PRM", "driver and tree")]
    assert number(lab["driver and tree, %"]) == pytest.approx(100 * costs[2] / sum(costs), rel=0.02)
    assert number(lab["nodes"]) >= 8 and min(costs) > 0


def test_prm_tokens_are_counted_over_all_blocks_of_problems(run, monkeypatch):
    monkeypatch.setattr(prm_tokens, "TOGETHER", 16)  # blocks of 2 problems
    printed = run(prm_tokens, "--problems", 3, "--budget", 8, "--method", "beam", "--max-tokens", 32)
    ((row,),) = tables(printed)
    distinct, ran, charged = (number(row[name]) for name in ("distinct new", "run", "charged"))
    assert distinct <= ran < charged
    assert number(row["over distinct"]) == pytest.approx(ran / distinct, rel=0.01)


def test_the_last_two_runs_stand_in_the_results_the_newest_first():
    text = "# Speed\n\nWritten by hand, and no run.\n"
    for day in ("Monday", "Tuesday", "Wednesday"):
        text = bench.with_run(text, "# Speed\n", f"# Run of {day}\n\n## ratios\n\n| {day} |\n")
    assert re.findall(r"^#+ .*|^\| .*", text, re.M) == [
        "# Speed",
        *("# Run of Wednesday", "## ratios", "| Wednesday |"),
        *("# Run of Tuesday", "## ratios", "| Tuesday |"),
    ]


def test_every_benchmark_that_is_run_is_a_module_with_its_options():
    for name, *options in (*bench.COMMANDS, *bench.GPU_COMMANDS):
        path = Path(bench.__file__).with_name(f"{name}.py")
        source = path.read_text(encoding="utf-8")
        assert all(f'"{option}"' in source for option in options if option.startswith("--")), name


def test_the_part_for_a_gpu_runs_at_toy_size_and_says_where_there_is_none(run):
    options = ["--states", 2, "--n", 2, "--max-tokens", 4, "--batch", 4, "--pairs", 1, "--batch-tokens", 200]
    ((sampled, scored),) = tables(run(gpu, "--toy", *options))
    assert number(sampled["ours"]) > 0 and number(scored["% of bf16 product rate"]) > 0
    if not torch.cuda.is_available():
        assert "not measured" in run(gpu, *options)


def test_generation_counts_the_same_tokens_on_both_sides_where_their_number_is_fixed(run):
    printed = run(
        generation,
        *("--policy", POLICY, "--dataset", DATASET, "--problems", 3, "--n", 2, "--max-tokens", 12),
        *("--repeats", 1, "--batch", 4),
    )
    (rows,) = tables(printed)
    fixed = {row["side"]: row["new tokens"] for row in rows if row["ending"] == "fixed"}
    assert fixed["TransformersPolicy"] == fixed["transformers generate"] == str(3 * 2 * 12)
    for row in rows:
        assert number(row["tokens/s"]) > 0
        assert (row["side"] == "ceiling (matrix products)") == (row["% of ceiling"] == "100")


def test_analysis_agrees_with_the_plain_baseline(run):
    printed = run(
        analysis,
        *("--problems", 60, "--samples", 16, "--prms", 2, "--resamples", 40, "--baseline-resamples", 40),
    )
    largest = float(re.search(r"baseline's: ([\d.]+)", printed)[1])
    noise = float(re.search(r"up to ([\d.]+) each", printed)[1])
    assert noise == pytest.approx(0.5 / (60 * 40) ** 0.5, abs=1e-3)
    assert largest < 6 * noise
    (rows,) = tables(printed)
    assert [row["part"] for row in rows][-1] == "baseline: select on each subset"


def test_the_heading_is_a_command_that_gives_the_same_settings(run):
    options = ["--problems", "8", "--samples", "4", "--prms", "1", "--resamples", "2"]
    printed = run(analysis, *options)
    command = re.search(r"^    python (.+)$", printed, flags=re.MULTILINE)[1].split()
    assert command == [
        "-m",
        "benchmarks.analysis",
        "--problems",
        "8",
        "--samples",
        "4",
        "--prms",
        "1",
        "--resamples",
        "2",
    ]
    again = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=120)
    assert again.returncode == 0, again.stderr
    setting = [line for line in printed.splitlines() if line.startswith("8 problems x 4 samples")]
    assert setting and setting[0] in again.stdout


def test_memory_and_time_are_of_the_work_alone():
    # A process of its own: here, memory that other tests gave back may hide what is taken anew.
    script = """
from benchmarks.common import measure
_, small = measure(lambda: None)
block, large = measure(lambda: bytearray(b"x" * 80_000_000))
assert len(block) == 80_000_000 and large.peak - small.peak > 70_000_000, (small, large)
assert large.seconds > small.seconds >= 0, (small, large)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
