"""The same model on several servers: a call is spread over them, and survives one of them dying."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tts_utils.protocols import BackendError, Policy, first_indices
from tts_utils.records import Continuation, SamplingConfig, State

CHUNKS = 4
"""Pieces of a call per member: more than one, so that a slow member takes fewer of them."""


class Fleet:
    """A policy whose requests are shared by members; see :class:`tts_utils.protocols.Policy`.

    A member takes the next piece when it has finished one, so a slow one holds nobody up but for its last
    piece. A member that fails is not asked again in this call; its piece goes back for the others.
    """

    def __init__(self, members: Sequence[Policy]) -> None:
        """Put members together.

        Raises:
            BackendError: there is none, or they are not the same model.
        """
        if not members:
            raise BackendError("a fleet needs at least one member")
        for member in members[1:]:
            for fact in ("name", "num_params", "revision"):
                mine, theirs = getattr(members[0], fact), getattr(member, fact)
                if mine != theirs:
                    raise BackendError(
                        f"members of a fleet must be the same model, but {fact} is {mine!r} and {theirs!r}"
                    )
        self.members = tuple(members)
        self.name, self.num_params, self.revision = (
            members[0].name,
            members[0].num_params,
            members[0].revision,
        )

    def sample(
        self, states: Sequence[State], n: int, config: SamplingConfig, first: int | Sequence[int] = 0
    ) -> list[list[Continuation]]:
        """Sample n continuations of every state, each state wholly by one member.

        Raises:
            BackendError: every member failed; the message holds what each said.
            ValueError: as every policy.
        """
        firsts = first_indices(states, n, config, first)
        size = max(1, -(-len(states) // (CHUNKS * len(self.members))))
        queue = _Pieces(range(0, len(states), size))
        results: list[list[Continuation]] = [[] for _ in states]
        failures: list[str] = []

        def work(member: Policy) -> None:
            while (start := queue.take()) is not None:
                piece = slice(start, start + size)
                try:
                    answers = member.sample(states[piece], n, config, firsts[piece])
                    if len(answers) != len(states[piece]):
                        raise BackendError(f"{len(answers)} answers to {len(states[piece])} states")
                except BackendError as exc:
                    failures.append(str(exc))
                    queue.give_back(start, last=len(failures) == len(self.members))
                    return
                except BaseException:
                    queue.close()
                    raise
                results[piece] = answers
                queue.finish()

        with ThreadPoolExecutor(len(self.members)) as pool:
            for future in [pool.submit(work, member) for member in self.members]:
                future.result()
        if not all(results):
            raise BackendError(f"all {len(failures)} members failed: {'; '.join(failures)}")
        return results


class _Pieces:
    """Pieces of a call: taken one by one, given back where a member fails, waited for until all are done."""

    def __init__(self, starts: Sequence[int]) -> None:
        self._waiting = deque(starts)
        self._unfinished = len(self._waiting)
        self._changed = threading.Condition()

    def take(self) -> int | None:
        """The next piece, as soon as there is one; None when nothing is left to do."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or not self._unfinished)
            return self._waiting.popleft() if self._unfinished else None

    def finish(self) -> None:
        """A piece is done."""
        with self._changed:
            self._unfinished = max(0, self._unfinished - 1)
            self._changed.notify_all()

    def give_back(self, start: int, last: bool) -> None:
        """A piece was not done; where nobody else is left, nothing more will be."""
        with self._changed:
            self._waiting.append(start)
            if last:
                self._unfinished = 0
            self._changed.notify_all()

    def close(self) -> None:
        """Nothing more is to be done."""
        with self._changed:
            self._unfinished = 0
            self._changed.notify_all()
