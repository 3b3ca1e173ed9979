"""A fleet answers as one policy does, whatever its members do, and says so where none is left."""

import threading
import time

import pytest

from tests.fakes import FakePolicy, problems
from tts_utils.policies.fleet import Fleet
from tts_utils.protocols import BackendError
from tts_utils.records import SamplingConfig, State

STATES = [State(p) for p in problems(23)]
CONFIG = SamplingConfig()


class Member(FakePolicy):
    """A server that may be slow, or die at its k-th call; counts the states it answered."""

    revision = "1"

    def __init__(self, pause: float = 0.0, dies_at: int = -1, error: type[Exception] = BackendError) -> None:
        super().__init__()
        self.pause, self.dies_at, self.error = pause, dies_at, error
        self.calls = self.answered = 0
        self.lock = threading.Lock()

    def sample(self, states, n, config, first=0):
        with self.lock:
            self.calls += 1
            if self.calls > self.dies_at >= 0:
                raise self.error(f"server of pause {self.pause} is gone")
        time.sleep(self.pause)
        self.answered += len(states)
        return super().sample(states, n, config, first)


WANTED = FakePolicy().sample(STATES, 3, CONFIG, first=5)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_it_answers_as_one_policy(size):
    members = [Member() for _ in range(size)]
    assert Fleet(members).sample(STATES, 3, CONFIG, first=5) == WANTED
    assert sum(m.answered for m in members) == len(STATES)


def test_first_indices_go_with_their_states():
    firsts = list(range(len(STATES)))
    assert Fleet([Member(), Member()]).sample(STATES, 2, CONFIG, firsts) == FakePolicy().sample(
        STATES, 2, CONFIG, firsts
    )


def test_a_slow_member_takes_fewer_pieces():
    slow, quick = Member(pause=0.2), Member()
    assert Fleet([slow, quick]).sample(STATES, 3, CONFIG, first=5) == WANTED
    assert slow.answered < quick.answered


def test_a_dying_member_s_pieces_are_done_by_the_others():
    dying, other = Member(pause=0.01, dies_at=1), Member(pause=0.01)
    assert Fleet([dying, other]).sample(STATES, 3, CONFIG, first=5) == WANTED
    assert dying.answered + other.answered == len(STATES) and dying.calls == 2


def test_the_last_piece_of_a_dying_member_is_waited_for():
    """The others have nothing left to do when it fails, and must not have gone home."""
    dying, other = Member(pause=0.0, dies_at=0), Member()
    dying.sample = lambda *args: (time.sleep(0.2), Member.sample(dying, *args))[1]
    assert Fleet([other, dying]).sample(STATES, 3, CONFIG, first=5) == WANTED


def test_when_all_die_the_message_holds_what_each_said():
    with pytest.raises(BackendError, match=r"all 2 members failed: .*pause 0.0 .*pause 0.01"):
        Fleet([Member(0.0, dies_at=1), Member(0.01, dies_at=2)]).sample(STATES, 3, CONFIG)


def test_an_error_of_the_request_itself_is_not_taken_for_a_dead_server():
    members = [Member(dies_at=0, error=ValueError), Member(pause=0.01)]
    with pytest.raises(ValueError, match="is gone"):
        Fleet(members).sample(STATES, 3, CONFIG)
    assert members[0].calls == 1


def test_nothing_to_do_and_unequal_members():
    assert Fleet([Member()]).sample([], 3, CONFIG) == []
    other = Member()
    other.revision = "2"
    with pytest.raises(BackendError, match="revision is '1' and '2'"):
        Fleet([Member(), other])
    with pytest.raises(BackendError, match="at least one"):
        Fleet([])
