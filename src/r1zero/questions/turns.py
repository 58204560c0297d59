"""Questions that are conversations: `[{"role": "user", "content": …}]`, as TRL, verl, SkyRL and DAPO keep prompts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from r1zero.errors import SettingName, UserError
from r1zero.types import INSTRUCTING

ROLES = (*sorted(INSTRUCTING), "user", "assistant")
_OF_TOOLS = ("tool_calls", "tool_call_id", "function_call")


@dataclass(frozen=True, slots=True)
class Conversation:
    """The turns up to a response; `answered` tells that an assistant's turn stood behind them, which is none of the
    question."""

    turns: tuple[tuple[str, str], ...]
    answered: bool = False

    @property
    def text(self) -> str:
        """What the last user's turn says, "" where there is none."""
        return next((text for role, text in reversed(self.turns) if role == "user"), "")

    @property
    def more_than_text(self) -> tuple[tuple[str, str], ...]:
        """The turns, where they are more than the one of a user."""
        return () if len(self.turns) == 1 else self.turns


def read_turns(value: list[object] | tuple[object, ...], where: str) -> Conversation:
    """Return the conversation that a cell holds. Turns of the assistant at its end are taken off: they answer.

    Raises:
        UserError: it is none, or holds what is no text (images, calls of tools); the sentence names the turn.
    """
    turns = []
    for number, turn in enumerate(value):
        found = _turn(turn)
        if isinstance(found, str):
            raise UserError(
                f"{where} holds a list, but a question is a string or a list of turns such as "
                f'{{"role": "user", "content": "…"}} (turn {number} {found}): mend it or name another column with ',
                SettingName("questions.question_column"),
            )
        turns.append(found)
    whole = len(turns)
    while turns and turns[-1][0] == "assistant":
        turns.pop()
    return Conversation(tuple(turns), answered=len(turns) < whole)


def _turn(turn: object) -> tuple[str, str] | str:
    """Return a turn's role and text, or what is wrong with it."""
    if not isinstance(turn, Mapping):
        return f"is a {type(turn).__name__}"
    role = turn.get("role")
    if role not in ROLES:
        return f"has the role {role!r}, and {', '.join(ROLES)} are known" if "role" in turn else "has no role"
    if called := [key for key in _OF_TOOLS if turn.get(key)]:
        return f"holds {called[0]}, which no prompt here shows"
    text = _content(turn.get("content"))
    return text if isinstance(text, str) else (str(role), *text)


def _content(content: object) -> tuple[str] | str:
    """Return the text of a turn, whole or in parts; or what is wrong with it."""
    if isinstance(content, str):
        return (content,)
    if content is None:
        return "has no content"
    if not isinstance(content, list | tuple):
        return f"has a {type(content).__name__} as its content"
    texts = []
    for part in content:
        text = part.get("text") if isinstance(part, Mapping) else part
        kind = part.get("type") if isinstance(part, Mapping) else "text"
        if kind != "text" or not isinstance(text, str):
            return f"holds a part of the kind {kind!r}, and only text can be asked"
        texts.append(text)
    return ("".join(texts),)
