r"""Notation that other countries and hurried writers use, put into ours token by token.

]a, b[   [a, b[   ]a, b]      an open end, as the French write it
(a, b) U (c, d)               a union
2 to 3                        a ratio
"""

from __future__ import annotations

from dataclasses import replace

from r1zero.verify.answers.tokens import Token

_BEFORE_A_SET = ("op", "relation", "sep")


def usual(tokens: tuple[Token, ...]) -> tuple[Token, ...]:
    """Return the same tokens in the usual notation."""
    found = list(tokens)
    for place, token in enumerate(tokens):
        before, after = tokens[place - 1 : place], tokens[place + 1 : place + 2]
        if token.text == "U" and token.kind == "letter" and before and after:
            if before[0].kind == "close" and after[0].kind in ("open", "close"):
                found[place] = replace(token, kind="op", text="cup")
        elif token.text == "to" and [t.kind for t in tokens] in (
            ["number", "run", "number"],
            ["number", "word", "number"],
        ):
            found[place] = replace(token, kind="op", text=":")
    for place, token in enumerate(found):
        begins = place == 0 or found[place - 1].kind in _BEFORE_A_SET
        if token.text in ("[", "]") and begins:
            _open_ends(found, place)
    return tuple(found)


def _open_ends(tokens: list[Token], begin: int) -> None:
    """An interval that begins at `begin`, with its brackets turned the usual way; nothing if it is none."""
    commas = 0
    for place in range(begin + 1, len(tokens)):
        token = tokens[place]
        commas += token.kind == "sep"
        if token.text in ("[", "]"):
            if commas == 1 and (tokens[begin].text, token.text) != ("[", "]"):
                if tokens[begin].text == "]":
                    tokens[begin] = replace(tokens[begin], kind="open", text="(")
                if token.text == "[":
                    tokens[place] = replace(token, kind="close", text=")")
            return
