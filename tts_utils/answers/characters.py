"""Unicode mathematics in the words of LaTeX: ``x²`` is ``x^{2}``, ``√3`` is ``\\sqrt{3}``, ``−`` is ``-``."""

from __future__ import annotations

import re
import unicodedata

_SIGNS = {
    **dict.fromkeys("‐‑‒–—―−﹣－", "-"),
    **dict.fromkeys("·⋅∙•", r" \cdot "),
    **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u200f\u2061\u2062\u2063", ""),
    **dict.fromkeys("‘’", "'"),
    **dict.fromkeys("“”", '"'),
    **{"×": r" \times ", "÷": "/", "∕": "/", "⁄": "/", "∗": "*", "±": r"\pm ", "∓": r"\mp "},
    **{
        "≤": r"\le ",
        "≥": r"\ge ",
        "⩽": r"\le ",
        "⩾": r"\ge ",
        "≠": r"\ne ",
        "≈": r"\approx ",
        "≡": r"\equiv ",
    },
    **{"∞": r"\infty ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "∖": r"\setminus ", "∣": r"\mid "},
    **{"∅": r"\emptyset ", "⟨": r"\langle ", "⟩": r"\rangle ", "〈": r"\langle ", "〉": r"\rangle "},
    **{"⌊": r"\lfloor ", "⌋": r"\rfloor ", "⌈": r"\lceil ", "⌉": r"\rceil ", "…": r"\dots ", "⋯": r"\dots "},
    **{"ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}", "ℚ": r"\mathbb{Q}", "ℕ": r"\mathbb{N}", "ℂ": r"\mathbb{C}"},
    **{"°": r"^\circ ", "º": r"^\circ ", "′": "'", "∑": r"\sum ", "∫": r"\int ", "∏": r"\prod "},
    **{"，": ", ", "、": ", ", "。": ".", "∠": r"\angle ", "△": r"\triangle ", "¢": r"\text{ cents}"},
    **{"ϕ": r"\phi ", "ϵ": r"\epsilon ", "ϑ": r"\theta ", "µ": r"\mu ", "∂": r"\partial ", "∧": r"\wedge "},
    **{"€": r"\text{euro}", "£": r"\text{pound}"},
}
_GREEK = {
    chr(code): "\\" + name + " "
    for first, names in (
        (0x3B1, "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi o pi rho"),
        (0x3C3, "sigma tau upsilon phi chi psi omega"),
    )
    for code, name in enumerate(names.split(), start=first)
} | {
    "Γ": r"\Gamma ",
    "Δ": r"\Delta ",
    "Θ": r"\Theta ",
    "Λ": r"\Lambda ",
    "Π": r"\Pi ",
    "Σ": r"\Sigma ",
    "Φ": r"\Phi ",
    "Ψ": r"\Psi ",
    "Ω": r"\Omega ",
    "ο": "o",
}
_RAISED = re.compile(r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿⁱ]+")
_LOWERED = re.compile(r"[₀₁₂₃₄₅₆₇₈₉₊₋₍₎ₙᵢ]+")
_VULGAR = re.compile(r"[¼½¾⅐⅑⅒⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞]")
_ROOT = re.compile(r"([√∛∜])\s*(\(|\{|[0-9]+(?:\.[0-9]+)?|[A-Za-z]|\\[A-Za-z]+)?")
_DEGREE = {"√": "", "∛": "[3]", "∜": "[4]"}


def to_latex(text: str) -> str:
    r"""Return a text with the signs of Unicode as LaTeX writes them; what is not mathematics stays.

    >>> to_latex("x² + ½√17 ≤ −3")
    'x^{2} + \\frac{1}{2}\\sqrt{17} \\le  -3'
    """
    if text.isascii():
        return text
    text = _RAISED.sub(lambda found: "^{" + _plain(found[0]) + "}", text)
    text = _LOWERED.sub(lambda found: "_{" + _plain(found[0]) + "}", text)
    text = _VULGAR.sub(_as_fraction, text)
    text = "".join(_SIGNS.get(c) or _GREEK.get(c) or _one(c) if c not in _SIGNS else _SIGNS[c] for c in text)
    return _ROOT.sub(_as_root, text)


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).replace("\N{MINUS SIGN}", "-")


def _one(character: str) -> str:
    """A letter or digit of another width or font as the plain one; any other character as it is."""
    plain = unicodedata.normalize("NFKC", character)
    return plain if len(plain) == 1 and plain.isascii() else _GREEK.get(plain, character)


def _as_fraction(found: re.Match[str]) -> str:
    over, _, under = unicodedata.normalize("NFKC", found[0]).partition("\N{FRACTION SLASH}")
    return rf"\frac{{{over}}}{{{under}}}"


def _as_root(found: re.Match[str]) -> str:
    root, operand = rf"\sqrt{_DEGREE[found[1]]}", found[2] or ""
    return root + (operand if operand in ("", "(", "{") else f"{{{operand}}}")
