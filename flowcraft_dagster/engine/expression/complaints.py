"""What to say about a text that the parser does not take."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

# The words that NAME leaves out in the grammar.
_RESERVED: Final = re.compile(
    "break|case|catch|class|const|continue|debugger|default|delete|do|else|enum|export|extends|finally|for|function|if|"
    "import|new|return|super|switch|this|throw|try|var|void|while|with"
)

# What the text at the place of an error starts with, and what to say about it; the first that fits counts.
_NOT_ALLOWED: Final[Mapping[str, str]] = {
    "=>": "functions are not allowed",
    "==": "unexpected '=='",
    "=": "assignment is not allowed; compare with '==='",
    "(": "calls are not allowed",
    "`": "template strings are not allowed; use quotes",
    "++": "the operator '++' is not allowed",
    "--": "the operator '--' is not allowed",
    "**": "the operator '**' is not allowed",
    "...": "spreading with '...' is not allowed",
    ",": "the comma operator is not allowed",
    ";": "only one expression is allowed",
    "&&": "unexpected '&&'",
    "||": "unexpected '||'",
    "&": "bitwise operators are not allowed",
    "|": "bitwise operators are not allowed",
    "^": "bitwise operators are not allowed",
    "~": "bitwise operators are not allowed",
    "//": "comments are not allowed",
    "/*": "comments are not allowed",
    "/": "regular expressions are not allowed",
}
_SHORT_CIRCUITS: Final = ("||", "&&", "??")


def explain(text: str, position: int) -> str:
    """Say why the parser stopped at ``position``."""
    rest = text[position:]
    if not rest:
        return "it ends too early" if text.strip() else "it is empty"
    return f"{_explain_start(text, rest)} at character {position + 1}"


def _explain_start(text: str, rest: str) -> str:
    word = re.match(r"[\w$]+", rest)
    if word:
        return _explain_word(word[0])
    if rest[0] in "'\"":
        ends = re.match(r"""(['"])(?:(?!\1)[^\\\n\r]|\\[\s\S])*\1""", rest)
        return "unexpected string" if ends else "there is a string without an end"
    if rest.startswith(_SHORT_CIRCUITS) and "??" in text and ("||" in text or "&&" in text):
        return "'??' together with '||' or '&&' needs parentheses"
    start = next((start for start in _NOT_ALLOWED if rest.startswith(start)), None)
    return f"unexpected {rest[0]!r}" if start is None else _NOT_ALLOWED[start]


def _explain_word(word: str) -> str:
    if word in ("in", "instanceof"):
        return f"the operator '{word}' is not allowed"
    if _RESERVED.fullmatch(word):
        return f"'{word}' is a reserved word (write context.{word} for a key of that name)"
    return f"unexpected '{word}'"
