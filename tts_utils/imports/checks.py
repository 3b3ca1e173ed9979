"""Say what is odd about an imported run; it changes and stores nothing."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tts_utils import answers, voting
from tts_utils.imports.files import RECORDS, Output, Run
from tts_utils.imports.grading import Graded, as_arrays, string_match
from tts_utils.mdp import MAX_STEPS, split_steps

CHAT_MARKS = re.compile(
    r"<\|(?:start_header_id|end_header_id|eot_id|begin_of_text|end_of_text|im_start|im_end|endoftext|system"
    r"|user|assistant)\|>|<｜(?:User|Assistant|begin▁of▁sentence|end▁of▁sentence)｜>|\[/?INST\]|</?s>"
)
"""What chat templates set around turns; in a completion it is a fault of whoever made it."""

MISFITS = "completions that do not fit their problem"
MISFIT_RATIO = 1 / 3
"""A completion is flagged when its similarity to its own problem is below this share of that to another."""

_SELECTIONS = {"naive": "prm_max", "weighted": "prm_vote", "maj": "majority"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: in how many of how many cases, a remark, where (problem, or "problem #sample").

    ``odd`` says whether a case of it is a fault, which stays with the run.
    """

    name: str
    count: int
    of: int
    note: str = ""
    where: tuple[str, ...] = ()
    odd: bool = True


def examine(run: Run, graded: Sequence[Graded]) -> list[Finding]:
    """Check a run; every check is listed, those that found nothing too."""
    findings = [*_of_completions(graded), *_of_scores(graded), *_of_answers(graded)]
    if any(g.question.agg_scores or g.question.predictions for g in graded):
        findings += _of_predictions(graded)
    if run.source == RECORDS:
        findings += _of_records(graded)
    verdicts = [v for g in graded for v in g.question.verdicts]
    if verdicts:
        right = sum(sum(g.correct) for g in graded)
        note = (
            "the mean of these is the accuracy of a single answer where each record holds one "
            f"(ours: {right} of {sum(len(g.correct) for g in graded)}), not that of a vote over the records"
        )
        findings.append(
            Finding("records' own majority_vote right", round(sum(verdicts)), len(verdicts), note, odd=False)
        )
    return findings


def _of_completions(graded: Sequence[Graded]) -> Iterator[Finding]:
    texts = [(g, i, o.text) for g in graded for i, o in enumerate(g.question.outputs)]
    total, num_problems = len(texts), len(graded)
    sizes = [len(g.answers) for g in graded]
    small = tuple(g.problem.problem_id for g in graded if len(g.answers) < max(sizes))
    note = f"{min(sizes)} to {max(sizes)} a problem" + ("; read with n = the smallest" if small else "")
    yield Finding("problems with fewer completions than others", len(small), num_problems, note, small)
    distinct = [len({o.text for o in g.question.outputs}) for g in graded]
    twice = tuple(g.problem.problem_id for g, d, s in zip(graded, distinct, sizes, strict=True) if d < s)
    note = f"{sum(distinct) / num_problems:.2f} of {total / num_problems:.4g} distinct a problem on average"
    yield Finding("exact duplicate completions", total - sum(distinct), total, note, twice)
    owners: dict[str, set[str]] = {}
    for g, _, text in texts:
        owners.setdefault(text, set()).add(g.problem.problem_id)
    shared = tuple(_at(g, i) for g, i, text in texts if text.strip() and len(owners[text]) > 1)
    yield Finding("same completion under several problems", len(shared), total, "", shared)
    misfits = tuple(f"{_at(g, i)} (fits {other})" for g, i, other in _misfits(graded))
    note = f"words of another problem, under {MISFIT_RATIO:.2f} as similar to its own"
    yield Finding(MISFITS, len(misfits), total, note, misfits)
    counts = [(g, i, o.text, o.num_tokens) for g in graded for i, o in enumerate(g.question.outputs)]
    missing = tuple(_at(g, i) for g, i, _, n in counts if n is None or n < 0)
    yield Finding("token counts missing", len(missing), total, "stored as -1: not known", missing)
    zero = tuple(_at(g, i) for g, i, text, n in counts if n == 0 and text)
    yield Finding("token counts of 0 for a text", len(zero), total, "stored as -1: not known", zero)
    empty = tuple(_at(g, i) for g, i, text in texts if not text.strip())
    yield Finding("empty completions", len(empty), total, "", empty)
    marked = tuple(_at(g, i) for g, i, text in texts if CHAT_MARKS.search(text))
    alone = sum(_only_marks("".join(split_steps(text)[:1])) for _, _, text in texts)
    note = f"their first step is nothing else in {alone}, and is scored as a step" if alone else ""
    yield Finding("completions holding chat markup", len(marked), total, note, marked)
    deep = tuple(_at(g, i) for g in graded for i, n in enumerate(g.num_steps) if n > MAX_STEPS)
    yield Finding(f"completions of more than {MAX_STEPS} steps", len(deep), total, "", deep)


def _of_scores(graded: Sequence[Graded]) -> Iterator[Finding]:
    scored = [
        (g, i, o.scores) for g in graded for i, o in enumerate(g.question.outputs) if o.scores is not None
    ]
    total = sum(len(g.answers) for g in graded)
    without = total - len(scored)
    yield Finding("completions without step scores", without, total)
    folded = tuple(_at(g, i) for g, i, scores in scored if not g.unfit[i] and len(scores) != len(g.scores[i]))
    note = "a blank piece had a score of its own; its step has that of its text" if folded else ""
    yield Finding("step scores with blank pieces folded in", len(folded), len(scored), note, folded)
    unfit = tuple(f"{_at(g, i)}: {g.unfit[i]}" for g, i, _ in scored if g.unfit[i])
    note = "kept as samples that have no scores and cast no vote under a PRM"
    yield Finding(
        "step scores that do not fit the steps", len(unfit), len(scored), note if unfit else "", unfit
    )
    zero = tuple(_at(g, i) for g, i, scores in scored if scores and not any(scores))
    note = "the paper's code writes 0 where scoring failed" if zero else ""
    yield Finding("step scores that are all exactly 0", len(zero), len(scored), note, zero)
    tied, texts, different = [], 0, 0
    for g in graded:
        last = [o.scores[-1] if o.scores else math.nan for o in g.question.outputs]
        top = [i for i, score in enumerate(last) if score == max((s for s in last if s == s), default=None)]
        if len(top) > 1:
            tied.append(g.problem.problem_id)
            texts += len({g.question.outputs[i].text for i in top}) > 1
            different += len(set(answers.group_answers([g.answers[i] for i in top]).tolist())) > 1
    note = f"between different texts in {texts}, different answers in {different}; the first seen wins"
    yield Finding("top last-step score tied", len(tied), len(graded), note if tied else "", tuple(tied))


def _of_answers(graded: Sequence[Graded]) -> Iterator[Finding]:
    cases = [
        (_at(g, i), g.answers[i], g.correct[i], string_match(output, g.problem))
        for g in graded
        for i, output in enumerate(g.question.outputs)
    ]
    none = tuple(at for at, answer, _, _ in cases if not answer)
    yield Finding("completions without a final answer", len(none), len(cases), "wrong, and no vote", none)
    yield Finding("right by string match", sum(match for *_, match in cases), len(cases), odd=False)
    more = tuple(at for at, _, ok, match in cases if ok and not match)
    fewer = tuple(at for at, _, ok, match in cases if match and not ok)
    right = sum(ok for _, _, ok, _ in cases)
    note = f"{len(more)} of them not by string match"
    yield Finding("right by our grader", right, len(cases), note, more, odd=False)
    yield Finding("right by string match, wrong by our grader", len(fewer), len(cases), "", fewer)


def _of_records(graded: Sequence[Graded]) -> Iterator[Finding]:
    outputs = [output for g in graded for output in g.question.outputs]
    marked = sum(output.steps is not None for output in outputs)
    note = "texts as their policy wrote them, up to white space around steps" if marked else ""
    yield Finding("step marks turned into blank lines", marked, len(outputs), note, odd=False)
    told = [g for g in graded if all(o.spent is not None and o.spent >= 0 for o in g.question.outputs)]
    spent = sum(output.spent for g in told for output in g.question.outputs)
    paths = sum(output.num_tokens or 0 for g in told for output in g.question.outputs)
    note = (
        f"{spent:,} tokens generated, {spent / len(told):,.0f} a problem; {paths:,} on the paths, which are "
        "the token counts stored: the store has no place for the rest"
        if told
        else ""
    )
    name = "problems that say what all their searches spent"
    yield Finding(name, len(told), len(graded), note, odd=False)


def _of_predictions(graded: Sequence[Graded]) -> Iterator[Finding]:
    """What search-and-learn chose, against what our rules choose among the same first k completions."""
    aggregated = [
        (g.question.agg_scores[i], o.scores)
        for g in graded
        if g.question.agg_scores
        for i, o in enumerate(g.question.outputs)
        if o.scores
    ]
    agree = {
        how: sum(math.isclose(a, voting.aggregate(s, how), abs_tol=1e-9) for a, s in aggregated if _finite(s))
        for how in voting.AGGREGATIONS
    }
    how = max(agree, key=lambda name: (agree[name], name == "last"))
    yield Finding(
        f"agg_scores that are not the step scores' {how!r}", len(aggregated) - agree[how], len(aggregated)
    )
    with_pred = [g for g in graded if "pred" in g.question.predictions]
    first = [g for g in with_pred if g.question.predictions["pred"] == _top_text(g)]
    name = "pred is the completion of highest last-step score"
    yield Finding(name, len(first), len(with_pred), odd=False)
    ids, scores = as_arrays(graded, "equivalence", how)
    lenient = [
        replace(
            g,
            answers=tuple(answers.extract_answer(o.text, last_number=True) for o in g.question.outputs),
        )
        for g in graded
    ]
    lenient_ids, _ = as_arrays(lenient, "equivalence", how)
    names = sorted({n for g in graded for n in g.question.predictions}, key=lambda n: (len(n) > 4, _k(n), n))
    for name in names:
        selection = _SELECTIONS[name[5:].partition("@")[0]] if "@" in name else "prm_max"
        k = min(_k(name) or ids.shape[1], ids.shape[1])
        chosen = voting.select(ids[:, :k], scores[:, :k], selection)
        by_number = voting.select(lenient_ids[:, :k], scores[:, :k], selection)
        differ, explained, silent, theirs, ours, matches, num = [], 0, 0, 0, 0, 0, 0
        for g, c, loose, d in zip(graded, chosen, lenient, by_number, strict=True):
            if name not in g.question.predictions:
                continue
            num += 1
            answer = answers.extract_answer(g.question.predictions[name])
            theirs += answers.grade(answer, g.problem.answer)
            matches += string_match(Output(g.question.predictions[name]), g.problem)
            ours += c >= 0 and g.correct[c]
            if not answers.equivalent(answer, g.answers[c] if c >= 0 else ""):
                differ.append(g.problem.problem_id)
                silent += not answer
                explained += answers.equivalent(answer, loose.answers[d] if d >= 0 else "")
        note = f"right: {theirs} of {num} (by string match {matches}), by our choice {ours}"
        if differ:
            note += f"; {silent} state no answer, {explained} agree once a text's last number counts as one"
        yield Finding(f"{name} is not our {selection}", len(differ), num, note, tuple(differ))


def _misfits(graded: Sequence[Graded]) -> Iterator[tuple[Graded, int, str]]:
    """Completions much more similar to another problem of the run than to their own.

    Similarity is the cosine of words and numbers, weighted by how few problems hold them. On 1,600
    completions of 100 MATH-500 problems this flags none, and 90 % of them when they are handed to random
    other problems of the same run.
    """
    words = [_words(g.problem.text) for g in graded]
    held = Counter(word for found in words for word in found)
    column = {word: i for i, word in enumerate(held)}
    weight = np.array([math.log((len(graded) + 1) / n) for n in held.values()])
    problems = np.zeros((len(graded), len(held)), dtype=np.float32)  # (P, V)
    for row, found in zip(problems, words, strict=True):
        places = [column[word] for word in found]
        row[places] = weight[places] ** 2 / max(np.linalg.norm(weight[places]), 1e-12)
    for own, g in enumerate(graded):
        texts = [output.text for output in g.question.outputs]
        similar: dict[str, NDArray[np.float32]] = {}
        for i, text in enumerate(texts):
            if text not in similar:
                places = [column[word] for word in _words(text) if word in column]
                similar[text] = problems[:, places].sum(axis=1)  # (P,)
            other = int(similar[text].argmax())
            if similar[text][own] < MISFIT_RATIO * similar[text][other]:
                yield g, i, graded[other].problem.problem_id


def _only_marks(step: str) -> bool:
    """Whether a step is chat markup and nothing else but the name of a role."""
    rest = CHAT_MARKS.sub("", step)
    return rest != step and rest.strip() in ("", "system", "user", "assistant")


def _finite(scores: Sequence[float]) -> bool:
    return all(map(math.isfinite, scores))


def _top_text(g: Graded) -> str | None:
    scored = [(o.scores[-1], -i) for i, o in enumerate(g.question.outputs) if o.scores]
    return g.question.outputs[-max(scored)[1]].text if scored else None


def _words(text: str) -> set[str]:
    return {word.lower() for word in re.findall(r"[A-Za-z]+|\d+", text)}


def _k(name: str) -> int:
    return int(name.partition("@")[2] or 0)


def _at(g: Graded, sample: int) -> str:
    return f"{g.problem.problem_id} #{sample}"
