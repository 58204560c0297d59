r"""Notation that other countries and hurried writers use, put into ours token by token.

]a, b[   [a, b[   ]a, b]      an open end, as the French write it
(a, b) U (c, d)               a union
2 to 3                        a ratio
\begin{split}x&=5\end{split}  a display: rows are a list, or one chain if they go on with a relation
a, where k is in Z            a condition behind a value, as behind a comma
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from r1zero.verify.answers.tokens import DISPLAYS, Token

_BEFORE_A_SET = ("op", "relation", "sep")


def usual(tokens: tuple[Token, ...]) -> tuple[Token, ...]:
    """Return the same tokens in the usual notation."""
    tokens = tuple(_conditions(_undisplayed(tokens)))
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


def _undisplayed(tokens: tuple[Token, ...]) -> Iterator[Token]:
    """Yield the tokens without environments that only display: their rows as a list, or as one chain where a row
    goes on with a relation. A matrix, a column in brackets and cases with conditions stay what they are."""
    shown: list[bool] = []  # of the open environments, whether each only displays
    for place, token in enumerate(tokens):
        if token.kind == "environment" and token.text.startswith("\\begin"):
            shown.append(_only_displays(tokens, place))
        if not (shown and shown[-1]):
            yield token
        elif token.text == "row":
            behind = next((other for other in tokens[place + 1 :] if other.text != "&"), None)
            if behind is not None and behind.kind != "relation":
                yield replace(token, text=",")
        elif token.kind != "environment" and token.text != "&":
            yield token
        if token.kind == "environment" and token.text.startswith("\\end") and shown:
            shown.pop()


def _only_displays(tokens: tuple[Token, ...], begin: int) -> bool:
    """Tell whether the environment that begins there says nothing of its own."""
    name = tokens[begin].text[len("\\begin{") : -1]
    if name not in ("array", *DISPLAYS):
        return False
    end = next((k for k in range(begin, len(tokens)) if tokens[k].text == f"\\end{{{name}}}"), len(tokens))
    has_columns = any(token.text == "&" for token in tokens[begin:end])
    if name == "array":
        return not has_columns and (begin == 0 or tokens[begin - 1].kind not in ("open", "op"))
    return not (name.endswith("cases") and has_columns)


def _conditions(tokens: Iterable[Token]) -> Iterator[Token]:
    """Yield the tokens with `where` (`with`, `for`) before a relation as a comma, and so `(k in Z)` at the end."""
    found = list(tokens)
    last = max((k for k, token in enumerate(found) if token.text == "("), default=0)
    is_condition = last > 0 and [t.text for t in found[last + 2 : last + 3]] == ["in"] and found[-1].text == ")"
    for place, token in enumerate(found):
        is_word = place > 0 and token.kind in ("word", "run") and token.text.lower() in ("where", "with", "for")
        if (is_word and any(other.kind == "relation" for other in found[place + 1 :])) or (
            is_condition and place == last
        ):
            yield replace(token, kind="sep", text=",")
        elif not (is_condition and place == len(found) - 1):
            yield token
