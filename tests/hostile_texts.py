"""Texts that attack their reader, from a seed: what a model, a server or a file could hand over."""

from __future__ import annotations

import random

LONG = 100_000
LONGEST = 1_000_000

_PIECES = (
    *(
        "\\boxed{",
        "\\boxed",
        "\\fbox{",
        "{",
        "}",
        "$",
        "$$",
        "\\(",
        "\\)",
        "\\[",
        "\\]",
        "\\",
        "\n",
        "\n\n",
        " ",
    ),
    *(
        "\\frac{",
        "\\sqrt{",
        "\\left(",
        "\\right.",
        "\\text{",
        "\\begin{pmatrix}",
        "\\end{pmatrix}",
        "&",
        "\\\\",
    ),
    *(
        "^{",
        "_{",
        "(",
        ")",
        "[",
        "]",
        "|",
        ",",
        ";",
        "=",
        "<",
        "\\le",
        "\\cup",
        "\\pm",
        "\\mp",
        "\\{",
        "\\}",
        "\\%",
    ),
    *(
        "The answer is ",
        "final answer is $",
        "$. I hope",
        "Answer:",
        "#### ",
        "<answer>",
        "</answer>",
        "</think>",
    ),
    *(
        "9",
        "1,000",
        "0.333...",
        "x",
        "i",
        "e",
        "\\pi",
        "and ",
        "or ",
        " million",
        "p.m.",
        "cm",
        "²",
        "√",
        "½",
        "∞",
    ),
    *(
        "\0",
        "\u2028",
        "\u202e",
        "\ud800",
        "\U0001d465",
        "\N{ZERO WIDTH SPACE}",
        "𝑥",
        "<script>",
        "__import__('os')",
    ),
    *("9^{9^{9^9}}", "(10^8)!", "\\sum_{k=1}^{10^9}k", "\\binom{10^9}{10^8}", "\\int_0^1 x^x dx", "2^{10^9}"),
)
_ANSWERS = (
    "9^{9^{9^9}}",
    "(10^8)!",
    "((((((2!)!)!)!)!)!)!",
    "\\sum_{k=1}^{10^9}\\frac{1}{k^2}",
    "\\prod_{k=1}^{10^7}(1+x^k)",
    "\\binom{10^9}{10^8}",
    "\\int_0^1 x^x dx",
    "(x+1)^{10^6}",
    "(1+\\sqrt2)^{10^9}",
    "\\sqrt{" * 15 + "2" + "}" * 15,
    "(" * 19 + "x" + ")" * 19,
    "\\frac{1}{" * 18 + "x" + "}" * 18,
    "+".join(f"x_{{{n}}}^{n}" for n in range(90)),
    "\\gcd(10^{300}!,3)",
    "\\lim_{n\\to\\infty}(1+1/n)^n",
    "\\{" + ",".join(f"\\sqrt{{{n}}}" for n in range(60)) + "\\}",
    "|" * 40 + "x" + "|" * 40,
    "x" + "^x" * 60,
    "2" + "^{3" * 18 + "}" * 18,
    "\\log" * 30 + "x",
)


def text(seed: int, number: int) -> str:
    """Return one text of a seed; one in twenty is longer than ``LONG``, up to ``LONGEST`` characters."""
    rng = random.Random(f"{seed}/{number}")
    length = rng.randint(LONG, LONGEST) if number % 20 == 0 else int(10 ** rng.uniform(0, 4))
    return _text(rng, length)


def answer(rng: random.Random) -> str:
    """Return one answer that is costly to read, or looks so, in one of its countless variants."""
    chosen = rng.choice(_ANSWERS)
    return (
        f"{rng.randint(2, 999)}{rng.choice(('+', '-', ' ', '/'))}{chosen}" if rng.random() < 0.8 else chosen
    )


def _text(rng: random.Random, length: int) -> str:
    kind = rng.choices(range(7), (4, 4, 4, 4, 4, 0.4, 2))[0]
    if kind == 0:  # one piece, again and again
        piece = rng.choice(_PIECES)
        return (piece * (length // len(piece) + 1))[:length]
    if kind == 1:  # nested
        opening, inner, closing = (
            rng.choice(_PIECES),
            rng.choice(_PIECES),
            rng.choice(("}", ")", "]", "$", "")),
        )
        depth = length // (len(opening) + len(closing) + 1)
        return opening * depth + inner + closing * depth
    if kind == 2:  # a few pieces in turn
        pieces = "".join(rng.choices(_PIECES, k=rng.randint(2, 6)))
        return (pieces * (length // len(pieces) + 1))[:length]
    if kind == 3:  # pieces at random
        return "".join(rng.choices(_PIECES, k=length // 6 + 1))[:length]
    if kind == 4:  # characters at random
        return "".join(map(chr, rng.choices(range(1, 0xD7FF), k=min(length, 20_000))))
    before = rng.choice(("", "So ", "\\[", "The answer is $", "</think>")) * min(length // 20, 50_000)
    if kind == 5:  # a costly answer in a box
        return f"{before}\\boxed{{{answer(rng)}}}"
    return f"{before}\\boxed{{{_text(rng, min(length, 900))[:900]}}}"
