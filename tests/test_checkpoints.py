"""A checkpoint's files, whole and spoiled: whatever is wrong with them is one error that names them."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("torch")

from tests import fakes
from tests.tiny import tiny_model, tokenizer
from tts_utils import checkpoints, cli, policies
from tts_utils.checkpoints import UnknownModel, load_config, load_tokenizer
from tts_utils.policies import load_policy


@pytest.fixture
def folder(tmp_path):
    """A whole checkpoint, to be spoiled."""
    path = tmp_path / "tiny"
    tiny_model().save_pretrained(path)
    tokenizer().save_pretrained(path)
    return path


def changed(path, **more):
    path.write_text(json.dumps(json.loads(path.read_text()) | more))


LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
SPOILT_TOKENIZERS = {
    "none": lambda f: [(f / name).unlink() for name in ("tokenizer.json", "tokenizer_config.json")],
    "no JSON": lambda f: (f / "tokenizer.json").write_text('{"a"'),
    "not a tokenizer": lambda f: (f / "tokenizer.json").write_text('{"a": 1}'),
    "a configuration that is no JSON": lambda f: (f / "tokenizer_config.json").write_text("{"),
}
SPOILT_CONFIGS = {
    "no JSON": lambda f: (f / "config.json").write_text("{"),
    "no model type": lambda f: (f / "config.json").write_text("{}"),
    "unknown model type": lambda f: changed(f / "config.json", model_type="nonsense"),
    "a size of the wrong type": lambda f: changed(f / "config.json", hidden_size="large"),
}
SPOILT_WEIGHTS = {
    "none": lambda f: (f / "model.safetensors").unlink(),
    "an LFS pointer": lambda f: (f / "model.safetensors").write_bytes(LFS_POINTER),
    "cut": lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:-1000]),
    "of another shape": lambda f: changed(f / "config.json", intermediate_size=7),
}


def test_a_whole_checkpoint_is_read(folder):
    text = "12 + 30 = 42.\n\n"
    assert load_tokenizer(str(folder))(text)["input_ids"] == tokenizer()(text)["input_ids"]
    assert load_config(str(folder)).hidden_size == 32


@pytest.mark.parametrize("spoil", SPOILT_TOKENIZERS.values(), ids=SPOILT_TOKENIZERS)
def test_a_spoilt_tokenizer_is_named(folder, spoil):
    spoil(folder)
    with pytest.raises(UnknownModel, match=str(folder)):
        load_tokenizer(str(folder))


@pytest.mark.parametrize("spoil", SPOILT_CONFIGS.values(), ids=SPOILT_CONFIGS)
def test_a_spoilt_configuration_is_named_whatever_the_backend(folder, spoil):
    spoil(folder)
    for load in (load_config, policies.num_params_of, load_policy):
        with pytest.raises(UnknownModel, match=str(folder)):
            load(str(folder))


def test_a_model_that_is_no_language_model_is_named(folder):
    (folder / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(UnknownModel, match=str(folder)):
        policies.num_params_of(str(folder))


@pytest.mark.parametrize("spoil", SPOILT_WEIGHTS.values(), ids=SPOILT_WEIGHTS)
def test_spoilt_weights_are_named(folder, spoil):
    spoil(folder)
    with pytest.raises(UnknownModel, match=str(folder)):
        load_policy(str(folder), "cpu")


def test_a_base_model_is_no_policy(folder):
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(UnknownModel, match="no chat template"):
        load_policy(str(folder), "cpu")


def test_an_error_that_says_what_is_wrong_is_left_as_it_is():
    with pytest.raises(UnknownModel, match=r"^as said$"), checkpoints.reading("org/name"):
        raise UnknownModel("as said")


def test_the_command_line_says_so_without_a_traceback(folder, tmp_path, monkeypatch):
    from typer.testing import CliRunner

    (tmp_path / "problems").mkdir()
    (tmp_path / "problems/toy.jsonl").write_text(fakes.as_jsonl(fakes.problems(2)), encoding="utf-8")
    monkeypatch.setenv("TTS_DATA", str(tmp_path))

    def message() -> str:
        words = ["sample", "--policy", str(folder), "--dataset", "toy", "--n", "1", "--max-tokens", "5"]
        result = CliRunner().invoke(cli.app, words)
        assert result.exit_code == 2, (result.output, result.exception)
        return result.stderr

    changed(folder / "config.json", max_position_embeddings=5)
    assert "'p000'" in message() and "reads at most 5" in message()
    (folder / "chat_template.jinja").unlink()
    assert "no chat template" in message()
