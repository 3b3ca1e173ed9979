"""Lesson 7: easy and hardest at once, three chances, stopping early."""

from collections import Counter
from math import comb

from tests.wrong_answers import Wrong
from tts_utils.metrics import difficulty_level

HARD = [0.09, 0.07, 0.05, 0.03, 0.01]
EASY = [0.9, 0.8, 0.7, 0.6, 0.5]


def with_putting_back(c, n, k):
    chances = dict.fromkeys(("easy", "medium", "hard"), 0.0)
    for j in range(k + 1):
        chances[difficulty_level(j / k)] += comb(k, j) * (c / n) ** j * (1 - c / n) ** (k - j)
    return chances


def without_the_last(c, n, k):
    chances = dict.fromkeys(("easy", "medium", "hard"), 0.0)
    for j in range(max(0, k - (n - c)), min(c, k)):
        chances[difficulty_level(j / k)] += comb(c, j) * comb(n - c, k - j) / comb(n, k)
    return chances


def only_what_occurs(c, n, k):
    return {difficulty_level(c / n): 1.0}


def of_those_answered(answers, least, share):
    said = [answer for answer in answers if answer]
    for used in range(1, len(said) + 1):
        (best, count), *_ = Counter(said[:used]).most_common(1)
        if used >= least and count >= share * used:
            return best, used
    return best, used


def never_early(answers, least, share):
    best = Counter(answer for answer in answers if answer).most_common(1)[0][0]
    return best, len(answers)


def empty_votes(answers, least, share):
    for used in range(1, len(answers) + 1):
        (best, count), *_ = Counter(answers[:used]).most_common(1)
        if used >= least and count >= share * used:
            return best, used
    return best, used


def last_seen_wins(answers, least, share):
    for used in range(1, len(answers) + 1):
        counts = Counter(answer for answer in reversed(answers[:used]) if answer)
        best = counts.most_common(1)[0][0] if counts else ""
        if used >= least and counts[best] >= share * used:
            return best, used
    return best, used


WRONG = [
    Wrong("fifth", "ties", ([0.9] * 5, HARD), "Equal numbers"),
    Wrong("fifth", "the hardest is medium", ([0.9, 0.8, 0.7, 0.6, 0.4], HARD), "which is medium"),
    Wrong("fifth", "the easiest is medium", (EASY, [0.1, 0.07, 0.05, 0.03, 0.01]), "which is medium"),
    Wrong("fifth", "per cent", ([90, 80, 70, 60, 50], HARD), "between 0 and 1"),
    Wrong("misfiled", "with putting back", with_putting_back, "without putting back"),
    Wrong("misfiled", "the last j left out", without_the_last, "belongs to one level"),
    Wrong("misfiled", "one level only", only_what_occurs, "all three levels"),
    Wrong("stop", "empty answers not counted", of_those_answered, "count as samples"),
    Wrong("stop", "never stops early", never_early, "stop there with 7"),
    Wrong("stop", "empty answers vote", empty_votes, "never wins"),
    Wrong("stop", "ties to the last", last_seen_wins, "seen first"),
]
