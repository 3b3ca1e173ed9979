"""The ledger: every claim of the paper, what was published, what is measured here, and a verdict.

Claims stand in ``data/paper/claims.csv``, what the lessons measured of them in ``data/report/ledger.csv``. A
lesson enters what its cell computed; from then on a cell that computes something else is an error, so the
page of the ledger never says what no cell says. ``python book/ledger.py --write`` fills the file anew.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from tts_utils.data_folder import find, look_up, places
from tts_utils.metrics import Interval

CLAIMS = "paper/claims.csv"
MEASURED = "report/ledger.csv"
COLUMNS = ["claim", "case", "estimate", "low", "high", "n"]
WRITING = "TTS_LEDGER"
"""Environment variable: a path that entries are written to instead of being compared with what is stored."""

TOLERANCE = 1e-6


class LedgerError(ValueError):
    """An entry names no claim, or a cell computes something else than what the ledger holds."""


def claims(data: Path | None = None) -> pd.DataFrame:
    """All claims: columns id, where, claim, published, direction, lesson, setting, why_not, later, source.

    ``direction`` is 1 where the claim says that a difference is positive, -1 where it says that it is
    negative, empty where nothing is measured; ``why_not`` then says why.
    """
    frame = pd.read_csv(find(CLAIMS, data), dtype=str, keep_default_na=False)
    return frame.assign(direction=pd.to_numeric(frame["direction"]).astype("Int64"))


def enter(claim: str, case: str, estimate: Interval, *, data: Path | None = None) -> Interval:
    """Enter what a cell measured of a claim, or check that the ledger already holds just that.

    Args:
        claim: its identifier in ``claims``.
        case: which policy, PRM, budget and set; one row of the ledger.
        estimate: a difference, rate or accuracy with its interval, in the units of the claim.
        data: the data directory; None means one's own, and then what is shipped.

    Returns:
        ``estimate``, so that a cell may show it.

    Raises:
        LedgerError: there is no such claim; or the ledger lacks the case or holds other numbers: the message
            says both and how to fill it anew.
    """
    known = claims(data)["id"]
    if claim not in set(known):
        raise LedgerError(
            f"there is no claim {claim!r} in {CLAIMS} of {places(data)}; there are {', '.join(known)}"
        )
    row = pd.DataFrame([[claim, case, *estimate]], columns=COLUMNS)
    if target := os.environ.get(WRITING):
        path = Path(target)
        old = pd.read_csv(path) if path.exists() else row[:0]
        kept = old[(old["claim"] != claim) | (old["case"] != case)]
        pd.concat([kept, row] if len(kept) else [row]).to_csv(path, index=False, float_format="%.6f")
        return estimate
    stored = measured(data)
    found = stored[(stored["claim"] == claim) & (stored["case"] == case)]
    way_out = "fill it anew with: python book/ledger.py --write"
    if found.empty:
        raise LedgerError(f"the ledger has no case {case!r} of claim {claim!r}; {way_out}")
    held = found.iloc[0][COLUMNS[2:]].to_numpy(dtype=float)
    if not np.allclose(held, np.array(estimate, dtype=float), rtol=0, atol=TOLERANCE, equal_nan=True):
        raise LedgerError(
            f"claim {claim!r}, case {case!r}: this cell computes {_words(estimate)}, the ledger holds "
            f"{_words(Interval(*held))}; the tables or the cell have changed: {way_out}"
        )
    return estimate


def measured(data: Path | None = None) -> pd.DataFrame:
    """What the lessons entered: columns claim, case, estimate, low, high, n; empty where nothing was."""
    path = look_up(MEASURED, data)
    return pd.read_csv(path) if path else pd.DataFrame(columns=COLUMNS)


def sides(intervals: Iterable[tuple[float, float]]) -> list[int]:
    """Where each interval lies: 1 above 0, -1 below, 0 where it holds 0 or has an end that is no number.

    >>> sides([(0.01, 0.1), (-0.02, 0.03), (-0.3, -0.1), (0.0, 0.1)])
    [1, 0, -1, 0]
    """
    return [int(low > 0 and high > 0) - int(low < 0 and high < 0) for low, high in intervals]


def verdict(
    intervals: Iterable[tuple[float, float]], direction: int, enough: float = 1.0, against: float = 0.0
) -> str:
    """What the cases of a claim say together.

    Args:
        intervals: (low, high) of each case.
        direction: the sign that the claim gives the difference, 1 or -1.
        enough: the share of cases that have to lie on one side of 0, in (0, 1]; the ledger asks for all.
        against: how many may lie on the other side, as a share of those.

    Returns:
        "reproduced" where enough intervals lie on the claim's side of 0 and not too many on the other;
        "reversed" where it is the other way round; "partly" where some lie on the claim's side; "not shown"
        otherwise.

    >>> verdict([(0.01, 0.1), (-0.02, 0.03)], 1), verdict([(-0.02, 0.03)], 1), verdict([(-0.3, -0.1)], 1)
    ('partly', 'not shown', 'reversed')
    >>> verdict([(0.01, 0.1), (-0.02, 0.03)], 1, enough=0.5, against=0.25)
    'reproduced'
    """
    found = sides(intervals)
    if not found:
        raise ValueError("a verdict needs at least one case")
    with_it, other = found.count(direction), found.count(-direction)
    for name, a, b in (("reproduced", with_it, other), ("reversed", other, with_it)):
        if a >= enough * len(found) and b <= against * a:
            return name
    return "partly" if with_it else "not shown"


def table(data: Path | None = None) -> pd.DataFrame:
    """One row per claim: its columns, its cases in words, their number, and the verdict.

    A claim without cases is "not testable here" where ``why_not`` says why, else "not attempted".
    """
    entered = dict(tuple(measured(data).groupby("claim", sort=False)))
    rows = []
    for claim in claims(data).to_dict("records"):
        cases = entered.get(claim["id"])
        if cases is None:
            said = "not testable here" if claim["why_not"] else "not attempted"
            rows.append(claim | {"cases": 0, "ours": claim["why_not"], "verdict": said})
            continue
        said = verdict(zip(cases["low"], cases["high"], strict=True), int(claim["direction"]))
        words = "; ".join(
            f"{c.case}: {_words(Interval(c.estimate, c.low, c.high, c.n))}" for c in cases.itertuples()
        )
        rows.append(claim | {"cases": len(cases), "ours": words, "verdict": said})
    return pd.DataFrame(rows)


def _words(x: Interval) -> str:
    return f"{x[0]:+.3f} [{x[1]:+.3f}, {x[2]:+.3f}], n = {x[3]:g}"
