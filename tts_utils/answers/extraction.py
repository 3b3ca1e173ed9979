r"""Find the final answer in what a model wrote, in the order "stated": all usual ways to state one."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from itertools import accumulate

from tts_utils.answers.boxes import bare, is_blank, spans
from tts_utils.answers.forms import literal
from tts_utils.answers.released import minerva
from tts_utils.answers.spelling import tidy

REACH = 2000
"""Characters after "the answer is" among which the answer must end."""

MAX_WORDS = 12
"""A statement in plain words is an answer up to this many; more are a sentence about something else."""

_THOUGHTS_END = re.compile(r"</(?:think|thinking|thought|reasoning)>", re.IGNORECASE)
# what may stand between two boxes, or two formulas, of one list: "and", "or", a comma, perhaps a name
_SPACE = r"(?:[ \t*_]|\\q?quad(?![a-z])|\\[,; )\]([]|\$\$?)*"
_WORD = r"(?:\\text\{ ?)?(?:and|or)(?![a-z])(?: ?\})?"
_JOINED = re.compile(
    rf"{_SPACE}(?:[,;]{_SPACE}\n?(?:{_WORD})?|{_WORD}){_SPACE}\n?{_SPACE}"
    r"(?:[A-Za-z](?:_\{?[0-9A-Za-z]\}?)?\s*(?:=|\\in)\s*)?"
)
_JOIN_REACH = 60
_PHRASE = re.compile(
    r"""(?P<hash>^\#{4}[ \t]+(?=\S))
    | (?P<tag><answer>)
    | (?P<is>\banswers?\b[ \t*_]*(?:\bto[ ](?:the|this)[ ](?:problem|question)[ ])?
        (?:is|are|was|equals?|(?:would|should|must|will)[ ]be|:(?!\w)|[ ]?=)[*_]*)
    | (?P<title>^[ \t\#*_>✅]*(?:the[ ])?(?:final[ ])?answers?[ \t]*[*_:]*[ \t]*$)""",
    re.IGNORECASE | re.VERBOSE | re.MULTILINE,
)
_SOLUTION = re.compile(r"\bsolutions?[ \t*_]*(?:is|are|:)[*_]*", re.IGNORECASE)
_FILLER = re.compile(
    r"(?:[\s:*_`>\"'“”]|(?:therefore|thus|then|hence|simply|just|exactly|indeed|clearly|now|equal to|given by"
    r"|the number|the following|also)\b[:,]?|<b>|<strong>|option\b(?=\s*\(?[A-E]\b)|\\boxed(?![{ A-Za-z]))*",
    re.IGNORECASE,
)
_OPENS = re.compile(
    r"\$\$|\$|\\\(|\\\[|\\begin\{(equation|align|gather|displaymath|math)(\*?)\}|"
    r"(?=\\(?:textbf|mathbf|boldsymbol|text|mathrm)\{)"
)
_CLOSES = {"$$": "$$", "$": "$", r"\(": r"\)", r"\[": r"\]"}
_AFTERWARDS = re.compile(r"[ \t]?(?:\\?%|(?:hundred|thousand|[mb]illion|trillion|dozen|[ap]\.?m\b\.?))")
_SENTENCE_END = re.compile(
    r"(?<!\bsq)(?<!\bcu)(?<!\bft)(?<!\bno)(?<![ap]\.m)(?<!\b[ap])[.!](?=\s|$|[*_\"'”<])|[?]|\n|。"
    r"|,?\s(?:because|since|which|where|when|given|as (?:required|claimed|desired|said|we|the|in))\b|</"
)
_CLOSING_SENTENCE = re.compile(
    r"(?:therefore|thus|hence|so|consequently|in conclusion)\b,?\s*(?:we (?:have|get|find)\s+)?(?:that\s+)?"
    r"(?:\$|\\\()?\s*[A-Za-z](?:_\{?\w\}?)?\s*=\s*([^=\n]{1,80}?)\s*(?:\$|\\\))?\s*\.?\s*\Z",
    re.IGNORECASE,
)
_OPTION = re.compile(
    r"(?:^|[.!\n,]\s*|\bso\s+)(?:the )?(?:correct )?(?:option|choice)\s*(?:is\s*)?\**\(?([A-J])\)?\**"
    r"(?:\s+is\s+(?:the\s+)?(?:correct|right)(?:\s+(?:answer|option|choice|one))?)?\s*\.?\s*\Z",
    re.IGNORECASE,
)


def extract(text: str) -> str:
    """Return the answer a text states; what stands after the thoughts of a reasoning model comes first."""
    ends = [found.end() for found in _THOUGHTS_END.finditer(text)]
    if ends and (answer := _stated(text[ends[-1] :])):
        return answer
    return _stated(text)


def _stated(text: str) -> str:
    found = minerva(text)
    if found is not None:
        return found
    return (
        _of_boxes(text)
        or _last(text, _PHRASE)
        or _last(text, _SOLUTION)
        or _of_the_closing_sentence(text[-300:])
    )


def _of_boxes(text: str) -> str:
    """Return what is in the last box; boxes that one closing sentence joins are one list."""
    boxes = [span for span in spans(text) if not is_blank(text, span[1], span[2])]
    if not boxes:
        return ""
    parts = [boxes[-1]]
    for span in reversed(boxes[:-1]):
        begin, end = span[3], parts[-1][0]
        if not (0 <= end - begin <= _JOIN_REACH and _JOINED.fullmatch(text, begin, end)) or len(parts) > 99:
            break
        parts.append(span)
    contents = [bare(text[begin:end]) for _, begin, end, _ in reversed(parts)]
    return ", ".join({_value(content): content for content in contents}.values())


def _value(content: str) -> object:
    """Return what a box says, so that a number and the same one written otherwise are said once."""
    form = literal(tidy(content), 1) if len(content) < 100 else None
    return content if form is None or form.exact is None else form.exact


def _last(text: str, phrases: re.Pattern[str]) -> str:
    """Return what follows the last phrase that an answer follows; at most 20 are tried."""
    places = deque(((found.end(), found.lastgroup) for found in phrases.finditer(text)), maxlen=20)
    for place, kind in reversed(places):
        rest = text[place : place + REACH]
        if kind == "tag":
            rest = rest.partition("</answer>")[0]
        if answer := _first_statement(rest, strict=kind != "is" or text[place - 1] == ":"):
            return answer
    return ""


def _first_statement(text: str, strict: bool) -> str:
    """Return the formula a text begins with and those joined to it, or its first sentence."""
    text = text[_FILLER.match(text).end() :]
    if re.match(r"not\b", text):
        return ""
    formulas = list(_formulas(text))
    if formulas:
        return ", ".join(formulas)
    if text.startswith(("$", r"\(", r"\[")) and not text.startswith(r"\$"):
        text = text.lstrip("$\\([ \n")  # it has no end: dollars of money, or a cut formula
    sentence = text[: end.start()] if (end := _SENTENCE_END.search(text)) else text
    sentence = re.sub(r"</?[A-Za-z]+>|\*\*|__", "", sentence).strip(" *_`\"'“”")
    if len(sentence.split()) > MAX_WORDS and (strict or len(sentence) > 200):
        return ""
    return _balanced(bare(sentence))


def _formulas(text: str) -> Iterator[str]:
    """The formulas at the beginning of a text, each joined to the one before it by a comma, "and" or "or"."""
    place = 0
    for _ in range(99):
        found = _OPENS.match(text, place)
        if not found or (not found[0] and place):
            return
        if not found[0]:  # \textbf{5}
            end = _closing_brace(text, text.index("{", place))
            if end < 0:
                return
            yield bare(text[text.index("{", place) + 1 : end] if "bf" in text[:end] else text[: end + 1])
            return
        close = _CLOSES.get(found[0]) or rf"\end{{{found[1]}{found[2]}}}"
        end = text.find(close, found.end())
        content = text[found.end() : max(end, 0)]
        if end < 0 or not content.strip() or (close == "$" and re.match(r"[0-9][0-9.,]* [a-z]", content)):
            return
        content = bare(content.strip().rstrip("\\").strip())
        if after := _AFTERWARDS.match(text, end + len(close)):
            content += after[0]
        if answer := _balanced(content.strip(",;&").strip()):
            yield answer
        place = end + len(close)
        joined = re.compile(r"\s*(?:,?\s*(?:and|or)\b|,)\s*").match(text, place)
        if not joined:
            return
        place = joined.end()


def _closing_brace(text: str, place: int) -> int:
    depth = 0
    for at in range(place, len(text)):
        depth += (text[at] == "{") - (text[at] == "}")
        if depth == 0:
            return at
    return -1


def _balanced(answer: str) -> str:
    """Return the answer, or "" where it is nothing but marks, or half of a pair of braces or delimiters."""
    if not re.search(r"[^\W_]|\\[A-Za-z{]", answer) or "boxed" in answer:
        return ""
    depths = list(accumulate((c == "{") - (c == "}") for c in re.sub(r"\\.", "", answer)))
    if depths and (min(depths) < 0 or depths[-1]):
        return ""
    for left, right in ((r"\[", r"\]"), (r"\(", r"\)")):
        if answer.count(left) != answer.count(right):
            answer = answer.replace(left, "").replace(right, "").strip()
    return answer if not answer.startswith(r"\begin{equation") else ""


def _of_the_closing_sentence(text: str) -> str:
    text = text.rstrip()
    for sentence in reversed(re.split(r"(?<=[.!?])\s+|\n", text)[-2:]):
        if found := _CLOSING_SENTENCE.match(sentence) or _OPTION.search(sentence):
            return bare(found[1])
        if sentence.strip():
            return ""
    return ""
