"""Lesson 5: effective number of answers, smaller forests, stopping when two agree."""

from tests.wrong_answers import Wrong
from tts_utils import answers as maths
from tts_utils import voting


def not_squared(answers):
    return len({answer for answer in answers if answer})


def empties_are_opinions(answers):
    shares = [answers.count(answer) / len(answers) for answer in set(answers)]
    return 1 / sum(share**2 for share in shares)


def share_of_all(answers):
    given = [answer for answer in answers if answer]
    return 1 / max(sum((given.count(a) / len(answers)) ** 2 for a in set(given)), 1e-9)


def by(finals, rule):
    right = []
    for _, group in finals.groupby("problem_id"):
        ids = [maths.group_answers(group["answer"].tolist())]
        (chosen,) = voting.select(ids, [group["score"].tolist()], rule)
        right.append(bool(group["correct"].iloc[chosen]))
    return sum(right) / len(right)


def neighbours(answers):
    for i in range(1, len(answers)):
        if answers[i] and answers[i] == answers[i - 1]:
            return i + 1
    return len(answers)


def empties_agree(answers):
    for i, answer in enumerate(answers):
        if answer in answers[:i]:
            return i + 1
    return len(answers)


WRONG = [
    Wrong("effective", "counts different answers", not_squared, "Square the shares"),
    Wrong("effective", "empty answers counted", empties_are_opinions, "Empty answers"),
    Wrong("effective", "shares of all answers", share_of_all, "have no share"),
    Wrong(
        "prefix",
        "the last trees",
        lambda finals, k: by(finals[finals["run"] >= finals["run"].max() + 1 - k], "prm_vote"),
        "only the tree with run 0",
    ),
    Wrong("prefix", "PRM-Max", lambda finals, k: by(finals[finals["run"] < k], "prm_max"), "1.1 together"),
    Wrong(
        "prefix",
        "k trees too many",
        lambda finals, k: by(finals[finals["run"] <= k], "prm_vote"),
        "only runs 0 and 1",
    ),
    Wrong("agree", "neighbours only", neighbours, "not with its neighbour"),
    Wrong("agree", "empty answers agree", empties_agree, "agree on nothing"),
    Wrong("agree", "counted from 0", lambda a: empties_agree(a) - 1, "stop after 2"),
]
