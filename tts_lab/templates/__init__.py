"""The lab's problem templates: MATH's seven subjects in miniature, each scaled by level.

A template is ``(builder) -> Quantity`` and returns the quantity asked for. ``OPERATIONS[level]`` says how
many operations a problem of that level takes, so a level-5 problem is a longer chain of the same kind of
step, in larger numbers.
"""

from __future__ import annotations

from collections.abc import Callable

from tts_lab.graph import Builder, Quantity
from tts_lab.templates import (
    algebra,
    counting,
    geometry,
    intermediate,
    number_theory,
    prealgebra,
    precalculus,
)

SUBJECTS: dict[str, tuple[Callable[[Builder], Quantity], ...]] = {
    "Prealgebra": prealgebra.TEMPLATES,
    "Algebra": algebra.TEMPLATES,
    "Geometry": geometry.TEMPLATES,
    "Number Theory": number_theory.TEMPLATES,
    "Counting & Probability": counting.TEMPLATES,
    "Intermediate Algebra": intermediate.TEMPLATES,
    "Precalculus": precalculus.TEMPLATES,
}
