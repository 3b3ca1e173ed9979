"""The ledger holds what the lessons' cells compute, gives every claim a verdict, and refuses what differs."""

import math
from pathlib import Path

import pandas as pd
import pytest

from tts_utils import ledger
from tts_utils.ledger import LedgerError, enter, verdict
from tts_utils.metrics import Interval

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A data folder with two claims."""
    monkeypatch.delenv(ledger.WRITING, raising=False)
    (tmp_path / "paper").mkdir()
    (tmp_path / "report").mkdir()
    columns = "id,where,claim,published,direction,lesson,setting,why_not,later,source\n"
    rows = "up,Figure 4,It rises.,,1,06,,,,\nproxy,Table 9,It wins.,,,10,,Needs a proxy.,,\n"
    (tmp_path / "paper" / "claims.csv").write_text(columns + rows)
    return tmp_path


def fill(data, monkeypatch, *entries):
    monkeypatch.setenv(ledger.WRITING, str(data / ledger.MEASURED))
    for entry in entries:
        enter(*entry, data=data)
    monkeypatch.delenv(ledger.WRITING)


def test_what_was_entered_is_accepted_again_and_nothing_else(data, monkeypatch):
    fill(data, monkeypatch, ("up", "small", Interval(0.1, 0.05, 0.15, 200)))
    assert enter("up", "small", Interval(0.1, 0.05, 0.15, 200), data=data).mean == 0.1
    with pytest.raises(LedgerError, match=r"computes \+0.110 .* holds \+0.100"):
        enter("up", "small", Interval(0.11, 0.05, 0.15, 200), data=data)
    with pytest.raises(LedgerError, match="n = 199"):
        enter("up", "small", Interval(0.1, 0.05, 0.15, 199), data=data)
    with pytest.raises(LedgerError, match=r"no case 'large'"):
        enter("up", "large", Interval(0.1, 0.05, 0.15, 200), data=data)
    with pytest.raises(LedgerError, match="there is no claim 'down'"):
        enter("down", "small", Interval(0.1, 0.05, 0.15, 200), data=data)


def test_an_interval_that_could_not_be_computed_is_kept_as_such(data, monkeypatch):
    nothing = Interval(0.1, math.nan, math.nan, 1)
    fill(data, monkeypatch, ("up", "one problem", nothing))
    enter("up", "one problem", nothing, data=data)
    assert ledger.table(data).set_index("id").loc["up", "verdict"] == "not shown"


def test_a_case_entered_twice_stands_once(data, monkeypatch):
    fill(data, monkeypatch, ("up", "a", Interval(1, 1, 1, 1)), ("up", "a", Interval(2, 2, 2, 2)))
    assert ledger.measured(data)["estimate"].tolist() == [2]


@pytest.mark.parametrize(
    ("intervals", "direction", "said"),
    [
        ([(0.1, 0.2), (0.01, 0.3)], 1, "reproduced"),
        ([(0.1, 0.2), (-0.1, 0.3)], 1, "partly"),
        ([(0.1, 0.2), (-0.2, -0.1)], 1, "partly"),
        ([(-0.1, 0.3)], 1, "not shown"),
        ([(-0.1, 0.3), (-0.2, -0.1)], 1, "not shown"),
        ([(-0.2, -0.1)], 1, "reversed"),
        ([(-0.2, -0.1)], -1, "reproduced"),
        ([(0.0, 0.1)], 1, "not shown"),
        ([(-0.1, 0.0)], 1, "not shown"),
    ],
)
def test_verdicts(intervals, direction, said):
    assert verdict(intervals, direction) == said


def test_a_verdict_may_ask_for_fewer_cases():
    up, down, flat = (0.1, 0.2), (-0.2, -0.1), (-0.1, 0.1)
    for cases, said in (
        ([up, up, flat, flat], "reproduced"),
        ([up, up, up, up, down], "reproduced"),
        ([up, up, up, down, flat], "partly"),
        ([down, down, down, down, up], "reversed"),
        ([flat, flat, down], "not shown"),
    ):
        assert verdict(cases, 1, enough=0.5, against=0.25) == said
        assert verdict([(-high, -low) for low, high in cases], -1, enough=0.5, against=0.25) == said
    assert verdict([up, up, flat, flat], 1) == "partly"


def test_a_verdict_on_nothing_is_an_error():
    with pytest.raises(ValueError, match="at least one"):
        verdict([], 1)


def test_claims_without_cases_say_why(data):
    table = ledger.table(data).set_index("id")
    assert table.loc["proxy", "verdict"] == "not testable here"
    assert table.loc["proxy", "ours"] == "Needs a proxy."
    assert table.loc["up", "verdict"] == "not attempted"


def test_the_shipped_claims_are_whole():
    claims = ledger.claims(ROOT / "data")
    assert claims["id"].is_unique
    assert (claims["direction"].isna() == (claims["why_not"] != "")).all(), "measured, or a reason why not"
    assert claims["direction"].dropna().isin([1, -1]).all()
    assert ((claims["later"] == "") == (claims["source"] == "")).all(), "later work is cited with its source"
    lessons = {path.name[:2] for path in (ROOT / "notebooks").glob("*.ipynb")}
    used = set(ledger.measured(ROOT / "data")["claim"])
    assert set(claims.loc[claims["id"].isin(used), "lesson"]) <= lessons
    for number in range(1, 19):
        assert claims["where"].str.contains(rf"(?:Figures?|Figure) [\d, ]*\b{number}\b").any(), (
            f"Figure {number}"
        )
    for number in range(1, 9):
        assert claims["where"].str.contains(rf"Tables? [\d, ]*\b{number}\b").any(), f"Table {number}"


def test_every_claim_of_the_shipped_ledger_was_attempted_or_says_why_not():
    table = ledger.table(ROOT / "data")
    assert table.loc[table["verdict"] == "not attempted", "id"].tolist() == []


def test_every_entry_of_the_shipped_ledger_is_made_by_a_lesson():
    entered = ledger.measured(ROOT / "data")
    sources = {path.name[:2]: path.read_text() for path in (ROOT / "notebooks").glob("*.ipynb")}
    for claim, lesson in ledger.claims(ROOT / "data").set_index("id")["lesson"].items():
        if claim in set(entered["claim"]):
            assert f'\\"{claim}\\"' in sources[lesson], (claim, lesson)
    assert isinstance(entered, pd.DataFrame)
