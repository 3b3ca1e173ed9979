"""Lesson 13: the curse of choosing, the posterior of a lead, the frontier."""

from math import comb

from tests.wrong_answers import Wrong


def one_sample(k, p, n, rng, repeats=2000):
    return float(rng.binomial(n, p, (repeats, k)).mean() / n - p)


def shared(k, p, n, rng, repeats=2000):
    return float((rng.binomial(n, p, repeats * k) / n).max() - p)


def without_the_extra_coin(v, w):
    return sum(comb(v + w, heads) for heads in range(v + 1)) / 2 ** (v + w)


def sorted_only(points):
    return sorted(set(points))


def with_copies(points):
    kept, highest = [], float("-inf")
    for samples, accuracy in sorted(points, key=lambda point: (point[0], -point[1])):
        if accuracy >= highest:
            kept.append((samples, accuracy))
            highest = accuracy
    return kept


WRONG = [
    Wrong("curse", "nothing chosen", one_sample, "best of ten"),
    Wrong("curse", "the best of all repeats", shared, "nothing to choose"),
    Wrong("posterior", "one coin short", without_the_extra_coin, "one half|3/4"),
    Wrong("posterior", "the share of votes", lambda v, w: v / (v + w), "3/4"),
    Wrong("pay", "sorted only", sorted_only, "dominated"),
    Wrong("pay", "equal accuracy kept", with_copies, "dominated"),
]
