"""Lesson 2: three winners, shuffled scores, the power vote."""

from tests.wrong_answers import Wrong
from tts_utils import voting


def shuffled_in_place(scores, rng):
    rng.permuted(scores, axis=1, out=scores)
    return scores


def power_without_scaling(answers, scores, p):
    totals = {}
    for answer, score in zip(answers, scores, strict=True):
        if answer:
            totals[answer] = totals.get(answer, 0.0) + score**p
    return max(totals, key=totals.get)


def power_with_empties(answers, scores, p):
    totals = {}
    for answer, score in zip(answers, scores, strict=True):
        totals[answer] = totals.get(answer, 0.0) + (score / max(scores)) ** p
    return max(totals, key=totals.get)


WRONG = [
    Wrong("scores", "PRM-Max picks 5", [0.9, 0.1, 0.1, 0.5, 0.5, 0.8], "PRM-Max picks 5"),
    Wrong("scores", "PRM-Vote picks 7", [0.1, 0.1, 0.1, 0.2, 0.2, 0.9], "PRM-Vote picks 7"),
    Wrong("scores", "above 1", [0.1, 0.1, 0.1, 0.6, 0.6, 2.0], "between 0 and 1"),
    Wrong("scores", "texts", ["0.1"] * 6, "between 0 and 1"),
    Wrong("shuffle", "in place", shuffled_in_place, "work on a copy"),
    Wrong(
        "shuffle",
        "one order for all",
        lambda scores, rng: scores[:, rng.permutation(scores.shape[1])],
        "same order",
    ),
    Wrong(
        "shuffle",
        "across problems",
        lambda scores, rng: rng.permutation(scores.ravel()).reshape(scores.shape),
        "between problems",
    ),
    Wrong("shuffle", "not at all", lambda scores, rng: scores.copy(), "Nothing was shuffled"),
    Wrong("power", "an empty answer wins", power_with_empties, "must never win"),
    Wrong("power", "underflow", power_without_scaling, "largest"),
    Wrong(
        "power", "p ignored", lambda answers, scores, p: voting.prm_vote(answers, scores), "majority voting"
    ),
]
