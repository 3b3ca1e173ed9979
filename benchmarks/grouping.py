"""Group the formula answers of pools: how often math-verify is asked, and how long it takes.

Each pool holds so many distinct spellings of the answers to one made-up problem, right and wrong ones:
fractions and surds, polynomials, complex numbers, points, intervals, sets, equations, matrices. Nothing is
repeated, so the figures are the worst case of a pool; the groups are compared with ``equivalent``, asked pair
by pair.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from benchmarks.common import heading, measure, parser, table
from tts_utils import answers

_SHAPES: tuple[Callable[[int, int, int], tuple[str, ...]], ...] = (
    lambda a, b, c: (
        rf"\frac{{{a}+{b}\sqrt{{{c}}}}}{{{b}}}",
        rf"\frac{{{a}}}{{{b}}}+\sqrt{{{c}}}",
        rf"({a}+{b}\sqrt{{{c}}})/{b}",
    ),
    lambda a, b, c: (rf"{a}x^2+{b}x+{c}", rf"{c}+x({b}+{a}x)", rf"{a}x^{{2}} + {b} x + {c}"),
    lambda a, b, c: (rf"\frac{{{a}+{b}i}}{{{c}}}", rf"\frac{{{a}}}{{{c}}} + \frac{{{b}}}{{{c}}}\mathrm{{i}}"),
    lambda a, b, c: (rf"({a},\frac{{{b}}}{{{c}}})", rf"\left({a}, {b}/{c}\right)", rf"x={a},y={b}/{c}"),
    lambda a, b, c: (rf"[{a},{a + b}\pi)", rf"{a}\le x<{a + b}\pi"),
    lambda a, b, c: (rf"\{{{a},-\sqrt{{{b}}},{c}\}}", rf"{c},{a},-\sqrt{{{b}}}"),
    lambda a, b, c: (rf"{a}x+{b}y={c}", rf"{2 * a}x+{2 * b}y-{2 * c}=0"),
    lambda a, b, c: (
        rf"\begin{{pmatrix}}{a}&\frac{{{b}}}{{2}}\\{c}&\pi\end{{pmatrix}}",
        rf"\begin{{bmatrix}} {a} & {b}/2 \\ {c} & \pi \end{{bmatrix}}",
    ),
    lambda a, b, c: (rf"{a}\sin({b}x)+{c}", rf"{c}+{a}\sin {b}x"),
    lambda a, b, c: (rf"{a}e^{{-{b}t}}\ln {c}", rf"\frac{{{a}\ln {c}}}{{e^{{{b}t}}}}"),
)


def pool(shape: int, size: int, rng: random.Random) -> list[str]:
    """Return so many distinct answers; three in four are of one shape, the rest of all shapes."""
    found: dict[str, None] = {}
    while len(found) < size:
        write = _SHAPES[shape % len(_SHAPES)] if rng.random() < 0.75 else rng.choice(_SHAPES)
        found[rng.choice(write(rng.randint(1, 9), rng.randint(1, 9), rng.randint(2, 9)))] = None
    return list(found)


def main(argv: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--problems", type=int, default=20)
    options.add_argument("--n", type=int, default=256, help="distinct answers of each problem")
    options.add_argument("--pairs", type=int, default=2000, help="compared with the verdict on the pair")
    options.add_argument("--seed", type=int, default=0)
    args = options.parse_args(argv)
    rng = random.Random(args.seed)
    pools = [pool(shape, args.n, rng) for shape in range(args.problems)]
    heading(
        "grouping", argv, f"{args.problems} problems x {args.n} distinct formula answers, seed {args.seed}"
    )

    maths = answers.MATHS
    answers.equivalent("x", "2x")  # starts the process, which is not what is measured
    parses, comparisons, spent = maths.parses, maths.comparisons, maths.spent
    groups, cost = measure(lambda: [answers.group_answers(texts) for texts in pools])
    row = {
        "answers": args.problems * args.n,
        "groups": sum(len(set(ids.tolist())) for ids in groups),
        "expressions parsed": maths.parses - parses,
        "asked of math-verify": maths.comparisons - comparisons,
        "processor seconds": cost.processor + maths.spent - spent,
        "seconds": cost.seconds,
    }
    different = 0
    for _ in range(args.pairs):
        number = rng.randrange(args.problems)
        a, b = rng.sample(range(args.n), 2)
        if rng.random() < 0.5:  # half of the pairs from one group, where there is one
            same = [m for m in range(args.n) if groups[number][m] == groups[number][a] and m != a]
            b = rng.choice(same) if same else b
        together = bool(groups[number][a] == groups[number][b])
        different += together is not answers.equivalent(pools[number][a], pools[number][b])
    table([row | {f"verdicts on {args.pairs:,} pairs that differ": different}])


if __name__ == "__main__":
    main()
