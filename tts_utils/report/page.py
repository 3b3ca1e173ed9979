"""The report as text: all of it, or a summary that fits a screen."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pandas as pd

from tts_utils.report.searches import MUTE

SCREEN = 40
"""Lines that a screen holds; a longer report is summed up."""
MEASURE = 54
"""Characters of the column of measures, where no name is longer."""


def lines(frame: pd.DataFrame, dataset: str, everything: bool = False) -> list[str]:
    """The report in lines of text; numbers are percent.

    Args:
        frame: as :func:`tts_utils.report.report` gives it.
        dataset: its name.
        everything: every row, however many there are.
    """
    whole = list(_whole(frame, dataset))
    if everything or len(whole) <= SCREEN:
        return whole
    summary = [line.rstrip() for line in _summary(frame, dataset)]
    return [*summary, "", f"This is a summary of {len(frame)} figures; all of them: --all"]


def _whole(frame: pd.DataFrame, dataset: str) -> Iterator[str]:
    wide = max([MEASURE, *frame.loc[frame["estimate"].notna(), "measure"].map(len)])
    for (policy, group), rows in frame.groupby(["policy", "group"], sort=False):
        yield ""
        yield f"{policy} on {dataset}{f', {group}' if group else ''}: n = {rows['n'].max()} problems"
        for row in rows.itertuples():
            if math.isnan(row.estimate):
                yield f"  {row.measure}"
                continue
            signed = "+" if row.measure.endswith("- majority") else ""
            interval = f"[{100 * row.low:{signed}.1f}, {100 * row.high:{signed}.1f}]"
            more = (_cost(row) if row.prm and not signed else "") + (f"  ({row.note})" if row.note else "")
            yield (
                f"  {row.measure:<{wide}} N = {row.N:<4} {100 * row.estimate:{signed}6.1f}  {interval}  "
                f"n = {row.n}{more}"
            )
    if frame["measure"].str.contains(f", {MUTE} (", regex=False).any():
        yield ""
        yield f"  {MUTE}: of the paths a search ends with, those that were cut or hold no answer"


def _summary(frame: pd.DataFrame, dataset: str) -> Iterator[str]:
    pools = frame[frame["method"] == "samples"]
    yield f"{dataset}: percent right of {pools['n'].max() if len(pools) else frame['n'].max()} problems"
    yield ""
    yield (
        f"{'policy':<24}{'N':>4} {'CoT':>6} {'pass@1':>7}   {'majority':<20} {'PRM-Last + PRM-Vote':<24}"
        f"{'pass@N':>6} {'cut':>5} {'no answer':>9}"
    )
    for (policy, group), rows in pools.groupby(["policy", "group"], sort=False):
        if (whole := rows[rows["estimate"].notna()]).empty:
            yield f"{_name(policy, group):<24} incomplete"
            continue
        plain = whole[whole["prm"] == ""]
        size, name = int(plain["N"].max()), _name(policy, group)
        yield (
            f"{name:<24}{size:>4} {_of(plain, 'CoT (greedy)'):>6} {_of(plain, 'pass@1'):>7}   "
            f"{_of(plain, f'majority@{size}', True):<20} {_over_prms(whole, 'prm_last_vote'):<24}"
            f"{_of(plain, f'pass@{size}'):>6} {_of(plain, 'samples cut by the token limit'):>5} "
            f"{_of(plain, 'samples without an answer'):>9}"
        )
    searched = frame[(frame["method"] != "samples") & (frame["rule"] != "") & frame["estimate"].notna()]
    if len(searched):
        yield ""
        rule = searched["measure"].iloc[0].split(", ")[1].split(" (")[0]
        yield f"searches at equal N ({rule}); tokens of policy and PRM per problem, means over PRMs"
        yield f"{'policy':<24}{'N':>4}   {'best-of-N':<33}{'beam search':<33}{'DVTS':<33}"
        for (policy, group, size), rows in searched.groupby(["policy", "group", "N"], sort=False):
            cells = [_cell(rows[rows["method"].str.startswith(kind)]) for kind in ("best", "beam", "dvts")]
            yield f"{_name(policy, group):<24}{size:>4}   " + "".join(f"{cell:<33}" for cell in cells)
    for row in frame[frame["measure"].str.startswith("imported: ")].itertuples():
        yield f"{row.policy}: {row.measure}"


def _name(policy: str, group: str) -> str:
    return f"{policy} {group}".strip()


def _of(rows: pd.DataFrame, measure: str, interval: bool = False) -> str:
    """A figure of a pool, with its interval if that is wanted; "-" where there is none."""
    rows = rows[rows["measure"] == measure]
    if rows.empty:
        return "-"
    row = rows.iloc[0]
    words = f"{100 * row['estimate']:.1f}"
    return words + (f" [{100 * row['low']:.1f}, {100 * row['high']:.1f}]" if interval else "")


def _over_prms(rows: pd.DataFrame, rule: str) -> str:
    """The range over PRMs of a rule's accuracy; of one PRM the estimate with its interval."""
    rows = rows[(rows["rule"] == rule) & ~rows["measure"].str.endswith("- majority")]
    if len(rows) == 1:
        return _of(rows, rows.iloc[0]["measure"], interval=True)
    if rows.empty:
        return "-"
    return f"{100 * rows['estimate'].min():.1f} to {100 * rows['estimate'].max():.1f} ({len(rows)} PRMs)"


def _cell(rows: pd.DataFrame) -> str:
    if rows.empty:
        return "-"
    right = f"{100 * rows['estimate'].min():.1f}"
    if len(rows) > 1:
        right = f"{right} to {100 * rows['estimate'].max():.1f} ({len(rows)})"
    tokens = " + ".join(_count(rows[name].mean()) for name in ("policy_tokens", "prm_tokens"))
    return f"{right}, {tokens}"


def _cost(row: Any) -> str:
    """Tokens and FLOPs of one problem, as far as they are known."""
    if math.isnan(row.policy_tokens):
        return ""
    tokens = f"{_count(row.policy_tokens)} + {_count(row.prm_tokens)} tokens"
    return f"  {tokens}" + ("" if math.isnan(row.flops) else f", {row.flops:.1e} FLOPs")


def _count(value: float) -> str:
    return "?" if math.isnan(value) else f"{value:,.0f}"
