import doctest

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tts_utils import mdp
from tts_utils.mdp import initial_state, is_terminal, split_steps, state_of, strip_separator, transition
from tts_utils.records import Problem

PROBLEM = Problem("p1", "What is 2 + 3?", "5")
TEXTS = st.text(alphabet="ab \n\t\r\u2028\\{}", max_size=40) | st.text(max_size=40)


def test_doctests():
    assert doctest.testmod(mdp).failed == 0


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("", ()),
        ("a", ("a",)),
        ("a\n\n", ("a\n\n",)),
        ("a\n\nb", ("a\n\n", "b")),
        ("a\nb\n\nc\n", ("a\nb\n\n", "c\n")),
        ("a\n\n\n\nb", ("a\n\n\n\n", "b")),  # a blank piece attaches to the step before
        ("a\n\n \n\nb", ("a\n\n \n\n", "b")),
        ("a\n\n\nb", ("a\n\n", "\nb")),  # left to right, as a policy stopping at the separator writes it
        ("\n\na", ("\n\na",)),  # nothing before: attaches to the first step
        ("\n\n\n\n", ("\n\n\n\n",)),
        (" ", (" ",)),
        ("a\r\n\r\nb", ("a\r\n\r\nb",)),  # only "\n\n" separates
    ],
)
def test_split_by_hand(text, steps):
    assert split_steps(text) == steps


@given(TEXTS)
@example("\n\n\n")
def test_join_of_split_is_the_text(text):
    steps = split_steps(text)
    assert "".join(steps) == text
    assert all(steps)
    if text.strip():
        assert all(step.strip() for step in steps)
    assert all("\n\n" in step for step in steps[:-1])


@given(TEXTS)
def test_splitting_a_step_again_changes_nothing(text):
    assert all(split_steps(step) == (step,) for step in split_steps(text))


@given(st.lists(TEXTS, max_size=6))
def test_transitions_are_concatenation(actions):
    state = initial_state(PROBLEM)
    for action in actions:
        state = transition(state, action)
    assert state == state_of(PROBLEM, "".join(actions))
    assert state.text == "".join(actions)


def test_transition_leaves_the_old_state():
    before = state_of(PROBLEM, "a\n\n")
    after = transition(before, "b\n\n")
    assert (before.steps, after.steps) == (("a\n\n",), ("a\n\n", "b\n\n"))
    assert transition(before, "") == before


def test_strip_separator():
    assert strip_separator("\n a \n\n\n") == " a "
    assert strip_separator("\n\n") == ""


@pytest.mark.parametrize(
    ("text", "reason", "terminal"),
    [
        ("", None, False),
        ("", "eos", True),  # the policy may end at once
        ("a\n\n", "stop", False),
        ("a", None, False),
        ("a", "eos", True),
        ("so \\boxed{5}.\n\n", "stop", True),
        ("so \\boxed{5}.", None, True),
        ("so \\boxed{5}.\n\nand\n\n", "stop", False),  # only the last step counts
        ("so \\boxed{5", "length", False),  # a cut step is never finished
        ("a", "length", False),
        ("write it in a boxed form\n\n", "stop", False),
    ],
)
def test_is_terminal(text, reason, terminal):
    assert is_terminal(state_of(PROBLEM, text), reason) is terminal


def test_depth_limit():
    assert not is_terminal(state_of(PROBLEM, "a\n\n" * 39), "stop")
    assert is_terminal(state_of(PROBLEM, "a\n\n" * 40), "stop")
    assert is_terminal(state_of(PROBLEM, "a\n\n" * 40), "length")
    assert is_terminal(state_of(PROBLEM, "a\n\n" * 3), "stop", max_steps=3)


def test_bad_arguments():
    with pytest.raises(ValueError, match="'done'"):
        is_terminal(initial_state(PROBLEM), "done")
    with pytest.raises(ValueError, match="max_steps"):
        is_terminal(initial_state(PROBLEM), max_steps=0)
