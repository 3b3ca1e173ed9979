"""Whether two tidy answers mean the same: by kind, structure and value; else by math-verify."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from tts_utils.answers.forms import Form, as_complex, literal, proportional, same_forms
from tts_utils.answers.kinds import kind, letters
from tts_utils.answers.matching import match, one_holds_the_other, same_items
from tts_utils.answers.maths import MathProcess
from tts_utils.answers.regions import Region
from tts_utils.answers.spelling import MAX_CHARS, Spelling, split_list
from tts_utils.answers.structure import Node, expressions, read
from tts_utils.answers.verdicts import Verdicts

POINTS = 8
_NEVER_EQUAL = ({"integer"}, {"integer", "words"}, {"integer", "list"}, {"words", "list"})
_INFINITE = (r"\infty", r"-\infty")


class Comparison:
    """Compares tidy answers with the help of one mathematics process.

    Attributes:
        process: the process; it starts when it is first needed.
        verdicts: those that were stored, which are taken as they are.
        seconds: processor time for one expression, or one pair that math-verify is asked about.
        budget: processor time for all questions together; when it is used up, what has not been read yet is
            equal to nothing but itself.
    """

    def __init__(
        self, process: MathProcess, verdicts: Verdicts, seconds: float, budget: float = float("inf")
    ) -> None:
        self.process, self.verdicts, self.seconds = process, verdicts, seconds
        self._uses = 0  # of the process, whether it had to be asked or remembered
        self._end = process.spent + budget
        self._forms: dict[str, Form | None] = {}
        self._read: set[str] = set()  # texts that the process has read

    def read_ahead(self, keys: Iterable[str]) -> None:
        """Have the expressions in tidy answers read together, so that ``same`` need not wait for each."""
        keys = sorted(key for key in keys if kind(key) == "maths")
        if len(keys) < 3 or self.verdicts.hold_any(keys):
            return
        texts = {text for key in keys for text in expressions(read(key))}
        new = [text for text in texts if text not in _INFINITE and literal(text, POINTS) is None]
        self._read.update(new)
        self._forms.update(self.process.forms(sorted(new), self.seconds, self._end) if new else {})

    def probe(self, key: str) -> tuple[int, complex]:
        """Return how many values an answer has, 0 where they are not known, and their sum.

        Two answers with as many values and another sum are different, which is quickly seen.
        """
        if kind(key) != "maths" or key.endswith(r"\%") or self.verdicts.is_noting:
            return 0, 0j
        node = read(key)
        if node.names or node.shape not in ("value", "list", "tuple", "matrix"):
            return 0, 0j
        total, parts = 0j, node.parts or (node,)
        for part in parts:
            form = self._forms.get(part.text) or literal(part.text, POINTS)
            plain = part.shape == "value" and not part.names and form is not None and not form.decimal
            if not plain or form.state != "known" or form.values[-1] is None:
                return 0, 0j
            total += as_complex(form.values[-1])
        return len(parts), total

    def same(self, a: Spelling, b: Spelling) -> bool:
        """Say whether two answers are the same; units count where both have one."""
        if a.unit and b.unit and a.unit != b.unit and not one_holds_the_other(a.unit, b.unit):
            return False
        return self.same_keys(a.key, b.key)

    def same_keys(self, a: str, b: str) -> bool:
        """Say whether two tidy answers are the same, whatever their units."""
        if a == b or not a or not b:
            return a == b
        percent = [key.endswith(r"\%") and len(split_list(key)) == 1 for key in (a, b)]
        if any(percent):
            return self._same_percents(a, b) if percent[1] else self._same_percents(b, a)
        kinds = {kind(a), kind(b)}
        if kinds == {"string"} or kinds == {"string", "words"}:
            return max(len(a), len(b)) <= MAX_CHARS and letters(a) == letters(b)
        if kinds & {"string", "based"} or kinds in _NEVER_EQUAL:
            return False
        if kinds == {"list"}:
            return same_items(split_list(a), split_list(b))
        if "words" in kinds:
            return kinds <= {"words", "letters"} and letters(a) == letters(b)
        return self.verdicts.of(a, b, lambda: self._decide(a, b))

    def _decide(self, a: str, b: str) -> tuple[bool, bool]:
        """Whether two answers that are not plain are the same, and whether that took the process."""
        uses = self._uses
        verdict = self._same_nodes(read(a), read(b))
        return verdict, self._uses > uses

    def _same_percents(self, a: str, b: str) -> bool:
        r"""Decide for an answer and ``x\%``, which is x as well as a hundredth of x."""
        number = b.removesuffix(r"\%")
        if self.same_keys(a.removesuffix(r"\%"), number):
            return True
        if a.endswith(r"\%") or kind(number) not in ("integer", "maths"):
            return False
        if kind(a) == kind(number) == "integer":
            return number == a + "00"
        return self.same_keys(a, rf"\frac{{{number}}}{{100}}")

    def _same_nodes(self, a: Node, b: Node) -> bool:
        if a.text == b.text:
            return True
        if a.region is not None and b.region is not None and "region" in (a.shape, b.shape):
            return self._same_regions(a.region, b.region)
        if {a.shape, b.shape} & {"open"}:
            return self._ask(a.text, b.text)
        if a.names and b.names and a.shape == b.shape == "value" and a.names != b.names:
            return False
        if "equation" in (a.shape, b.shape):
            return self._same_equations(a, b)
        if a.names and a.shape == "value":
            return self._same_nodes(a.parts[0], b.parts[0] if b.names and b.shape == "value" else b)
        if b.names and b.shape == "value":
            return self._same_nodes(a, b.parts[0])
        if a.shape == b.shape == "value":
            return self._same_values(a.text, b.text)
        if "empty" in (a.shape, b.shape):
            return a.shape == b.shape or (
                bool({"list", "set"} & {a.shape, b.shape}) and not (a.parts or b.parts)
            )
        return self._same_parts(a, b)

    def _same_parts(self, a: Node, b: Node) -> bool:
        shapes = {a.shape, b.shape}
        if shapes == {"matrix"}:
            return a.size == b.size and self._in_order(a.parts, b.parts)
        if "matrix" in shapes or "region" in shapes or "value" in shapes:
            one = [node for node in (a, b) if node.shape in ("list", "set") and len(node.parts) == 1]
            if one and "value" in shapes:
                return self._same_nodes(one[0].parts[0], b if one[0] is a else a)
            return False
        if "tuple" in shapes:
            return self._same_tuples(a, b)
        if "set" in shapes:  # of lists each member counts as often as it stands there, of sets once
            return self._in_any_order(self._distinct(a.parts), self._distinct(b.parts))
        return self._in_any_order(a.parts, b.parts)

    def _same_tuples(self, a: Node, b: Node) -> bool:
        """Decide where at least one is a tuple; a set or list is compared with it in order."""
        if a.size == b.size == "named" and a.names != b.names:
            names = dict(zip(b.names, b.parts, strict=True))
            if set(names) != set(a.names):
                return False
            return self._in_order(a.parts, [names[name] for name in a.names])
        sizes = {a.size, b.size} - {"named", ""}
        brackets = "[]" if sizes == {"[]"} else "()"
        if len(sizes) > 1 or (sizes == {"[]"} and "set" in (a.shape, b.shape)):
            return False
        if len(a.parts) != len(b.parts) or (
            len(sizes) and brackets not in sizes and "set" in (a.shape, b.shape)
        ):
            return False
        return self._in_order(a.parts, b.parts)

    def _in_order(self, a: Sequence[Node], b: Sequence[Node]) -> bool:
        return len(a) == len(b) and all(map(self._same_nodes, a, b))

    def _in_any_order(self, a: Sequence[Node], b: Sequence[Node]) -> bool:
        return len(a) == len(b) and match(a, b, self._same_nodes)

    def _distinct(self, parts: Sequence[Node]) -> list[Node]:
        found: list[Node] = []
        for part in parts:
            if not any(self._same_nodes(part, other) for other in found):
                found.append(part)
        return found

    def _same_regions(self, a: Region, b: Region) -> bool:
        def same(x: tuple, y: tuple) -> bool:
            return (
                x[1] == y[1]
                and x[3] == y[3]
                and all(self._same_nodes(read(x[end]), read(y[end])) for end in (0, 2))
            )

        return len(a) == len(b) and match(a, b, same)

    def _same_equations(self, a: Node, b: Node) -> bool:
        """Decide for two equations, one of which is more than a name and its value."""
        if not all(node.shape == "equation" or node.names for node in (a, b)):
            return False
        sides = []
        for node in (a, b):
            left, right = (
                node.parts if node.shape == "equation" else (Node("value", node.names[0]), node.parts[0])
            )
            sides.append((self._form(left.text), self._form(right.text)))
        verdict = proportional(*sides)
        return self._ask(a.text, b.text) if verdict is None else verdict

    def _same_values(self, a: str, b: str) -> bool:
        if a == b or a in _INFINITE or b in _INFINITE:
            return a == b
        verdict = same_forms(self._form(a), self._form(b))
        return self._ask(a, b) if verdict is None else verdict

    def _form(self, text: str) -> Form:
        form = self._forms.get(text) or literal(text, POINTS)
        self._uses += text in self._read
        if form is None:
            self._uses += 1
            self._read.add(text)
            form = self.process.forms([text], self.seconds, self._end)[text]
        self._forms[text] = form
        return form

    def _ask(self, a: str, b: str) -> bool:
        if re.search(r"\\text(?![A-Za-z])|\\%", a + b):
            return False  # math-verify would drop words
        self._uses += 1
        if self.process.spent >= self._end:
            return False
        return self.process.equal(a, b, self.seconds)
