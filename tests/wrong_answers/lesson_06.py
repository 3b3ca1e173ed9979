"""Lesson 6: two judges who disagree, the other half, a choice made under another judge."""

import numpy as np
import pandas as pd

from tests.wrong_answers import Wrong


def on_the_same_half(right, first):
    reported = np.empty(right.shape[1])
    for half in (first, ~first):
        reported[half] = right[right[:, half].mean(axis=1).argmax(), half]
    return reported.mean()


def mean_of_two_means(right, first):
    return np.mean([right[right[:, h].mean(axis=1).argmax(), ~h].mean() for h in (first, ~first)])


def chosen_on_all(right, first):
    return right[right.mean(axis=1).argmax()].mean()


def only_one_way_round(right, first):
    return right[right[:, first].mean(axis=1).argmax(), ~first].mean()


def outcomes_not_mean(right, first):
    return right[right[:, first].mean(axis=1).argmax()]


def transposed(right):
    best = {judge: table.mean(axis=1).argmax() for judge, table in right.items()}
    return pd.DataFrame({a: {b: right[b][best[a]].mean() for b in right} for a in right})


def own_choice_everywhere(right):
    return pd.DataFrame({b: {a: right[b].mean(axis=1).max() for a in right} for b in right})


def a_dictionary(right):
    best = {judge: table.mean(axis=1).argmax() for judge, table in right.items()}
    return {a: {b: right[b][best[a]].mean() for b in right} for a in right}


AGREE = {"best_of_n": [1, 1], "beam": [0, 0]}
WRONG = [
    Wrong("judges", "the judges agree", {"judge A": AGREE, "judge B": AGREE}, "agree too much"),
    Wrong(
        "judges",
        "no method is right on both",
        {"judge A": {"best_of_n": [1, 0], "beam": [0, 1]}, "judge B": AGREE},
        "right on 1 of 2",
    ),
    Wrong(
        "judges",
        "both methods are always right",
        {"judge A": {"best_of_n": [1, 1], "beam": [1, 1]}, "judge B": AGREE},
        "agree too much",
    ),
    Wrong(
        "judges",
        "half right",
        {"judge A": AGREE, "judge B": {"best_of_n": [0.5, 0], "beam": [1, 1]}},
        "0 or 1",
    ),
    Wrong("other", "reported on the half of the choice", on_the_same_half, "half you chose on"),
    Wrong("other", "mean of the two means", mean_of_two_means, "weighs the small part"),
    Wrong("other", "chosen on all problems", chosen_on_all, "Expected 0.167"),
    Wrong("other", "one way round only", only_one_way_round, "Expected 0.167"),
    Wrong("other", "an array", outcomes_not_mean, "one number"),
    Wrong("transfer", "transposed", transposed, "Rows are the judge chosen under"),
    Wrong("transfer", "each judge's own choice", own_choice_everywhere, "right on 1 of 3"),
    Wrong("transfer", "no table", a_dictionary, "DataFrame"),
]
