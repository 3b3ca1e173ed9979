r"""The Markov decision process of step-by-step reasoning: states, actions (steps), transition, end.

Text is split and joined exactly: ``"".join(split_steps(x)) == x`` for every string ``x``. This module knows
no model.
Source: eq. 1 of Liu et al. 2025 (arXiv:2502.06703); the separator, the depth limit and the end
of a path follow the authors' released code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from tts_utils.records import FinishReason, Problem, State

SEPARATOR = "\n\n"
"""What ends a step: one blank line."""

MAX_STEPS = 40
"""The depth limit: a trajectory never has more steps than the paper's 40."""

_BOXED = r"\boxed{"

_REASONS = get_args(FinishReason)


def split_steps(text: str) -> tuple[str, ...]:
    r"""Cut a text into steps after every blank line, losing nothing.

    Each step keeps its separator(s) at its end. The text is read from left to right, as a policy that stops
    at ``SEPARATOR`` would have written it. A piece of nothing but white space is no step: it attaches to the
    step before, or, at the very beginning, to the first step. A text of white space only is one step; "" has
    none.

    >>> split_steps("Half of 10 is 5.\n\nSo \\boxed{5}")
    ('Half of 10 is 5.\n\n', 'So \\boxed{5}')
    >>> split_steps("\n\nA\n\n\n\nB")
    ('\n\nA\n\n\n\n', 'B')
    """
    pieces = [piece + SEPARATOR for piece in text.split(SEPARATOR)]
    pieces[-1] = pieces[-1].removesuffix(SEPARATOR)  # no separator stood after the last piece
    steps: list[list[str]] = []  # each in its pieces, joined at the end: in linear time
    said_something = True
    for piece in pieces:
        is_blank = not piece.strip()
        if steps and (is_blank or not said_something):
            steps[-1].append(piece)
            said_something = said_something or not is_blank
        elif piece:
            steps.append([piece])
            said_something = not is_blank
    return tuple(map("".join, steps))


def strip_separator(step: str) -> str:
    r"""Return the step without the line breaks around it (other white space stays), as PRM formats want it.

    >>> strip_separator("Half of 10 is 5.\n\n")
    'Half of 10 is 5.'
    """
    return step.strip("\n")


def initial_state(problem: Problem) -> State:
    """Return s_1: the problem, and no step yet."""
    return State(problem)


def state_of(problem: Problem, text: str) -> State:
    """Return the state reached by writing ``text`` from the initial state; its text is that, to the byte."""
    return State(problem, split_steps(text))


def transition(state: State, action: str) -> State:
    r"""Return s_{t+1} = [s_t, a_t]: deterministic string concatenation (eq. 1 of arXiv:2502.06703).

    Args:
        state: s_t.
        action: the text of the next step, its separator included; "" changes nothing. Blank text, and text
            after a step that has no separator yet, belongs to the last step; several steps at once are split
            as by :func:`split_steps`. So ``transition(state_of(p, x), y) == state_of(p, x + y)`` for all
            ``x``, ``y``.

    >>> s = initial_state(Problem("p1", "What is 2 + 3?", "5"))
    >>> transition(transition(s, "Add them.\n\n"), "It is \\boxed{5}.").steps
    ('Add them.\n\n', 'It is \\boxed{5}.')
    """
    return transitions(state, [action])[0]


def transitions(state: State, actions: Sequence[str]) -> list[State]:
    """The states that each of these actions leads to from one state; see :func:`transition`."""
    last = "".join(state.steps[-1:])
    closed = not last or (last.endswith(SEPARATOR) and last.strip() and _cut_at_most_behind(last))
    return [
        State(state.problem, (*state.steps, action))  # the usual case: nothing needs to be cut
        if closed and action.strip() and _cut_at_most_behind(action)
        else State(state.problem, state.steps[:-1] + split_steps(last + action))
        for action in actions
    ]


def _cut_at_most_behind(text: str) -> bool:
    """Whether the first separator of a text, if it has one, is its end."""
    return text.find(SEPARATOR) in (-1, len(text) - len(SEPARATOR))


def is_terminal(state: State, finish_reason: FinishReason | None = None, max_steps: int = MAX_STEPS) -> bool:
    r"""Say whether a trajectory ends here.

    It ends when the policy ended it (``finish_reason`` "eos"), when its last step holds ``\boxed{``, or when
    it has ``max_steps`` steps or more. A step cut by the token limit ("length") is never finished, whatever
    it holds; then only the depth limit ends the trajectory.

    Args:
        state: the state reached.
        finish_reason: why the last continuation ended; None where it is not known.
        max_steps: the depth limit, at least 1.

    Raises:
        ValueError: unknown finish reason, or ``max_steps`` below 1.

    Source: the authors' released code; it looks for ``\boxed`` and takes a step without separator as the end.
    """
    if finish_reason is not None and finish_reason not in _REASONS:
        raise ValueError(f"finish_reason must be one of {_REASONS} or None, got {finish_reason!r}")
    if max_steps < 1:
        raise ValueError(f"max_steps must be at least 1, got {max_steps!r}")
    if len(state.steps) >= max_steps or finish_reason == "eos":
        return True
    return finish_reason != "length" and bool(state.steps) and _BOXED in state.steps[-1]
