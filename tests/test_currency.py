"""The counts behind lesson 10: of the shipped table, once more; of texts that a vocabulary cannot write."""

import pandas as pd
import pytest

import currency
from tts_utils.data_folder import find, lab_dir


class Letters:
    """A vocabulary of single letters, without e; what it does not know is lost."""

    def __call__(self, text, add_special_tokens):
        assert not add_special_tokens
        return {"input_ids": [ord(c) for c in text if c != "e"]}

    def decode(self, ids):
        return "".join(map(chr, ids))


def test_counting_by_hand():
    frame = currency.counted({"a": ["abc", "the"], "b": ["xy"]}, {"letters": Letters()})
    assert frame["letters"].tolist() == [3, pd.NA, 2] and frame["characters"].tolist() == [3, 3, 2]
    assert frame["kind"].tolist() == ["a", "a", "b"] and frame["text"].tolist() == [0, 1, 0]


def test_long_cells_of_the_lessons_are_counted():
    texts = currency.book_texts()
    assert len(texts) > 100 and all(len(text) >= currency.SHORTEST for text in texts)


def test_the_shipped_counts_are_those_of_the_texts():
    pytest.importorskip("transformers")
    from tts_utils.checkpoints import find_model, load_tokenizer

    shipped = pd.read_csv(find(currency.TABLE.as_posix()))
    texts = currency.lab_texts(lab_dir())
    lab = {name: load_tokenizer(find_model(name)) for name in currency.LAB}
    again = currency.counted(texts, lab)
    same = shipped[shipped["kind"].isin(texts)].reset_index(drop=True)
    for name in ("characters", *lab):
        assert same[name].tolist() == again[name].tolist()
    assert shipped[["llama3", "qwen", "mistral"]].notna().all().all()


@pytest.mark.parametrize("name", currency.PUBLISHED)
def test_the_published_vocabularies_count_as_shipped(name):
    pytest.importorskip("transformers")
    from tests import vocabularies

    tokenizer = getattr(vocabularies, name)()
    shipped = pd.read_csv(find(currency.TABLE.as_posix()))
    texts = currency.lab_texts(lab_dir())
    again = currency.counted(texts, {name: tokenizer})
    assert shipped.loc[shipped["kind"].isin(texts), name].tolist() == again[name].tolist()
