"""Lesson 9: the price of false alarms, length at one place, a threshold chosen elsewhere."""

import numpy as np

from tests.wrong_answers import Wrong


def across_places(frame):
    rank = frame["text"].str.len().groupby(frame["problem_id"]).rank(pct=True)
    long = frame[rank > 0.5].groupby("problem_id")["score"].mean()
    short = frame[rank <= 0.5].groupby("problem_id")["score"].mean()
    return (long - short).mean()


def pooled(frame):
    place = [frame["problem_id"], frame["step"]]
    rank = frame["text"].str.len().groupby(place).rank(pct=True)
    return frame[rank > 0.5]["score"].mean() - frame[rank <= 0.5]["score"].mean()


def most_rejected(right, wrong):
    return float(max(right))


WRONG = [
    Wrong("retry", "a perfect judge only", lambda p, e, m: 1 / (p * (1 - e)), "accepts everything"),
    Wrong("retry", "misses forgotten with p", lambda p, e, m: 1 / (p * (1 - e) + m), "accepts everything"),
    Wrong("retry", "misses as costs", lambda p, e, m: 1 / (p * (1 - e)) + m * (1 - p), "accepts everything"),
    Wrong("length", "across places", across_places, "across places"),
    Wrong("length", "pooled over places", pooled, "counts once"),
    Wrong("threshold", "rejects nearly everything", most_rejected, "0.333 can be reached"),
    Wrong("threshold", "one half", lambda right, wrong: 0.5, "0.333 can be reached"),
    Wrong("threshold", "out of range", lambda right, wrong: 1 + float(np.mean(right)), "between 0 and 1"),
]
