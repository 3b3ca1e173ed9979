"""The training path: exact cached tokens, the same batches from workers, files that appear whole."""

from __future__ import annotations

from itertools import islice

import pandas as pd
import pytest
import torch

from tests.feeding import broken, numbers
from tests.tiny import tokenizer
from tts_lab.pretokens import PretokenCache
from tts_lab.problems import training_stream, write_problems
from tts_lab.train import TrainingConfig, batches
from tts_lab.whole import files_of, forget, is_folder_recorded, is_recorded, put_folder, record
from tts_utils.store import manifest

OPTIONS = {"add_special_tokens": False, "split_special_tokens": True}


def texts():
    for p in islice(training_stream(5), 150):
        yield p.text
        yield from p.solution.split("\n\n")


@pytest.mark.parametrize(
    "odd",
    [
        "",
        " ",
        "\n\n\n",
        "a  b",
        ": \\boxed{12}.",
        " - 1",
        "1 -1",
        "x+y",
        "<|user|> 3 + 4",
        "Zo\u00eb has 3",
        "tab\there",
        "a\r\nb",
        "\x1c",
        "1\u00a02",
        "Answer:",
        "::: {}",
        "3.14",
        "don't",
    ],
)
def test_cached_ids_are_the_tokenizers_on_odd_texts(odd):
    plain = tokenizer()
    assert PretokenCache(plain)([odd], **OPTIONS)["input_ids"] == plain([odd], **OPTIONS)["input_ids"]
    unsplit = {"add_special_tokens": False}
    assert PretokenCache(plain)(odd, **unsplit)["input_ids"] == plain(odd, **unsplit)["input_ids"]


def test_cached_ids_are_the_tokenizers_on_the_labs_texts():
    plain, found = tokenizer(), list(texts())
    assert PretokenCache(plain)(found, **OPTIONS)["input_ids"] == plain(found, **OPTIONS)["input_ids"]


def test_everything_else_goes_to_the_tokenizer_itself():
    plain = tokenizer()
    cached = PretokenCache(plain)
    assert cached.bos_token_id == plain.bos_token_id
    assert cached.encode("3 + 4") == plain.encode("3 + 4")
    assert cached("3 + 4")["input_ids"] == plain("3 + 4")["input_ids"]


def test_workers_give_the_batches_of_their_own_streams_in_turn():
    from tts_lab.feed import fed

    config = TrainingConfig(1, batch_tokens=600, pool=16)
    data = fed(numbers, (3, 4), config)
    found = list(islice(data, 6))
    data.close()
    one, two = (list(islice(batches(numbers(seed), config), 3)) for seed in (3, 4))
    expected = [batch for pair in zip(one, two, strict=True) for batch in pair]
    for a, b in zip(found, expected, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_a_worker_that_dies_ends_the_run(monkeypatch):
    from tts_lab import feed

    monkeypatch.setattr(feed, "PATIENCE", 0.2)
    with pytest.raises(RuntimeError, match="ended"):
        next(feed.fed(broken, (1,), TrainingConfig(1)))


def test_a_folder_appears_whole_and_what_a_kill_left_is_written_over(tmp_path):
    folder = tmp_path / "models" / "m"

    def dies(new):
        (new / "training.json").write_text("{")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        put_folder(folder, dies)
    assert not folder.exists() and not list((tmp_path).glob("models/*"))
    put_folder(folder, lambda new: (new / "training.json").write_text("{}"))
    assert (folder / "training.json").read_text() == "{}"


def test_what_was_not_recorded_does_not_count_and_is_recorded_later(tmp_path):
    path = tmp_path / "problems" / "set.jsonl"
    write_problems(tuple(islice(training_stream(2), 3)), path)
    assert not is_recorded([path], tmp_path)  # killed before the manifest knew of it
    record([path], tmp_path, "a command")
    assert is_recorded([path], tmp_path)
    before = manifest.load(tmp_path)["problems/set.jsonl"]["sha256"]
    path.write_text(path.read_text().replace("0", "1"))  # of the same size: damaged, or made anew
    with pytest.raises(manifest.StoreError, match="its sha256 differs"):
        record([path], tmp_path, "a command")
    forget([path], tmp_path)
    record([path], tmp_path, "a command")
    assert manifest.load(tmp_path)["problems/set.jsonl"]["sha256"] != before
    path.write_text(path.read_text()[:-20])  # cut, as an older build could leave it
    assert not is_recorded([path], tmp_path)


def shard(data):
    """A shard of labels that was recorded, with its cost."""
    path = data / "labels/lab-llama-m/shard-000.parquet"
    path.parent.mkdir(parents=True)
    pd.DataFrame({"right": [True]}).to_parquet(path)
    path.with_suffix(".json").write_text('{"num_tokens": 1}')
    record([path, path.with_suffix(".json")], data, "a command")
    return path


def test_a_damaged_shard_is_not_recorded_as_good_and_not_trained_on(tmp_path, monkeypatch):
    from tts_lab import build, labels, recipe

    path = shard(tmp_path)
    assert labels.read_shard(path, tmp_path)["right"].all()
    assert labels.labelling_cost(tmp_path, ["lab-llama-m"]) == {"num_tokens": 1}
    path.write_bytes(path.read_bytes()[:-1])
    path.with_suffix(".json").write_text('{"num_tokens": 2}')
    monkeypatch.setattr(build, "_load", lambda *args: None)
    stages = build.stages(recipe.smoke(), tmp_path, "cpu")
    stage = next(s for s in stages if s.name == "labels lab-llama-m")
    assert not stage.is_done()
    for read in (
        stage.make,
        lambda: labels.read_shard(path, tmp_path),
        lambda: labels.labelling_cost(tmp_path, ["lab-llama-m"]),
    ):
        with pytest.raises(manifest.StoreError, match="its sha256 differs"):
            read()


def test_a_training_record_that_was_changed_is_refused(tmp_path):
    from tts_lab import cast, learning

    folder = tmp_path / "models/m"
    put_folder(folder, lambda new: (new / "training.json").write_text('{"seconds": 1}'))
    record(files_of(folder), tmp_path, "a command")
    (folder / "training.json").write_text('{"seconds": 2}')
    for read in (cast.policies, learning.learning_curve):
        with pytest.raises(manifest.StoreError, match="its sha256 differs"):
            read(tmp_path)


def test_a_model_that_was_removed_and_made_anew_is_recorded_after_a_kill(tmp_path, monkeypatch):
    """Removed by hand while it is listed; made anew, and killed before it was recorded."""
    from tts_lab import build, recipe

    folder = tmp_path / "models/lab-llama-m"
    put_folder(folder, lambda new: (new / "training.json").write_text('{"seconds": 1}'))
    record(files_of(folder), tmp_path, "a command")
    (folder / "training.json").unlink()

    def train(spec, folder, *rest):
        put_folder(folder, lambda new: (new / "training.json").write_text('{"seconds": 2}'))
        raise KeyboardInterrupt

    monkeypatch.setattr(build, "train_policy", train)
    stages = build.stages(recipe.smoke(), tmp_path, "cpu")
    stage = next(s for s in stages if s.name == "policy lab-llama-m")
    with pytest.raises(KeyboardInterrupt):
        stage.make()
    stage.make()
    assert stage.is_done() and noted_seconds(tmp_path) == 2


def noted_seconds(data):
    return manifest.load(data)["models/lab-llama-m/training.json"]["seconds"]


def test_a_model_that_was_not_recorded_is_recorded_and_not_trained_again(tmp_path, monkeypatch):
    from tts_lab import build, recipe

    monkeypatch.setattr(build, "train_policy", lambda *args: pytest.fail("trained again"))
    folder = tmp_path / "models" / "lab-llama-m"
    put_folder(folder, lambda new: (new / "training.json").write_text('{"seconds": 1}'))
    stage = next(s for s in build.stages(recipe.smoke(), tmp_path, "cpu") if s.name == "policy lab-llama-m")
    assert not stage.is_done()
    stage.make()
    assert stage.is_done() and is_folder_recorded(folder, tmp_path) and len(files_of(folder)) == 1


def test_shards_that_a_kill_left_unrecorded_are_recorded_when_the_stage_goes_on(tmp_path, monkeypatch):
    from dataclasses import replace

    from tts_lab import build, recipe
    from tts_lab.labels import LabelConfig

    small = replace(recipe.smoke(), labels=LabelConfig(num_shards=1))
    folder = tmp_path / "labels" / "lab-llama-m"
    folder.mkdir(parents=True)
    pd.DataFrame({"right": [True]}).to_parquet(folder / "shard-000.parquet")
    (folder / "shard-000.json").write_text("{}")
    monkeypatch.setattr(build, "_load", lambda *args: None)
    stage = next(s for s in build.stages(small, tmp_path, "cpu") if s.name == "labels lab-llama-m")
    assert not stage.is_done()
    stage.make()
    assert stage.is_done()


def test_an_estimate_takes_apart_what_grows_with_the_problems(monkeypatch):
    from tts_lab import estimate, recipe

    clock, done = [0.0], set()

    def make(small):
        clock[0] += 5.0  # loading, every time
        new = set(range(small.limit)) - done
        clock[0] += 2.0 * len(new)
        done.update(new)

    monkeypatch.setattr(estimate.time, "perf_counter", lambda: clock[0])
    assert estimate.share(make, recipe.smoke(), 200) == 5.0 + 2.0 * 200
    assert len(done) == 20
