"""Generated questions of the package reasoning-gym: `reasoning-gym:chain_sum`, with the options of its configuration.

A question's `extra` holds the `metadata` and the whole `entry` (`question`, `answer`, `metadata`) as the package made
it, in plain values. Most of its sets know better than a comparison of texts which answers are right: `scorer` is what
they say.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from r1zero.errors import SettingName, UserError, did_you_mean, reason
from r1zero.questions.cells import Row
from r1zero.questions.rows import RawTable

PREFIX = "reasoning-gym:"
EXTRA = "reasoning-gym"
_INDEX = "source_index"  # of an entry's metadata: which of the set it is
_NO_OPTIONS: Mapping[str, object] = {}

Score = Callable[[str | None, Mapping[str, object]], float]
"""From an answer and a question's `extra` to the package's score of it, 0 to 1."""


def is_named(name: str) -> bool:
    """Tell whether a set's name is of the package."""
    return name.startswith(PREFIX)


def make(name: str, options: Mapping[str, object] = _NO_OPTIONS) -> Any:
    """Return the package's data set of a name, `PREFIX` included; its seed is 0 where no option says otherwise.

    Raises:
        UserError: the package is not there, it has no such set, or the set no such option.
    """
    sets = _package()
    short = name.removeprefix(PREFIX)
    if short not in sets:
        meant = did_you_mean(short, sets, most=3, show=lambda each: f"{PREFIX}{each}")
        raise UserError(
            SettingName("questions.name"),
            f" is {name!r}, and reasoning-gym has no set {short!r}: {meant}its {len(sets)} sets are in its gallery "
            "(GALLERY.md): set it to one of them",
        )
    known = [field.name for field in dataclasses.fields(sets[short][1])]
    for key in options:
        if key not in known:
            raise UserError(SettingName(f"questions.options.{key}"), f" is unknown: use one of {', '.join(known)}")
    from reasoning_gym import create_dataset  # type: ignore[import-not-found]

    try:
        return create_dataset(short, **{"seed": 0, **options})
    except (AssertionError, ValueError, TypeError, LookupError) as error:
        raise UserError(
            SettingName("questions.options"), f" of {name} cannot be used ({reason(error)}): mend that option"
        ) from None


def table(name: str, options: Mapping[str, object] = _NO_OPTIONS, limit: int | None = None) -> RawTable:
    """Return the entries of a set as rows, the first `limit` of them. Raises UserError like `make`."""
    made = make(name, options)
    rows: list[Row] = [_row(made[i]) for i in range(len(made) if limit is None else min(limit, len(made)))]
    return RawTable(name, ("question", "answer", "metadata", "entry"), rows)


def _row(entry: Mapping[str, Any]) -> Row:
    return {**{key: entry[key] for key in ("question", "answer", "metadata")}, "entry": dict(entry)}


def scorer(name: str, options: Mapping[str, object] = _NO_OPTIONS) -> Score:
    """Return the package's own scorer of a set's answers: `score(answer, question.extra)`.

    The entry is made again where the set can: what JSON has no form for (pairs as keys, say) is then as it was.

    Raises:
        UserError: as `make`.
    """
    made = make(name, options)

    def score(answer: str | None, extra: Mapping[str, object]) -> float:
        entry: Any = extra["entry"]
        index = entry["metadata"].get(_INDEX)
        if isinstance(index, int) and 0 <= index < len(made) and made[index]["question"] == entry["question"]:
            entry = made[index]
        return float(made.score_answer(answer, entry))

    return score


def _package() -> Mapping[str, tuple[type, Any]]:
    """Return the package's sets by name, each with its class and its configuration's."""
    try:
        from reasoning_gym.factory import DATASETS  # type: ignore[import-not-found]
    except ImportError as error:
        why = "is not installed" if error.name == "reasoning_gym" else f"cannot be loaded ({reason(error)})"
        raise UserError(
            f"questions named {PREFIX}NAME need the package reasoning-gym, which {why}: install it with pip install "
            f'"r1zero[{EXTRA}]"'
        ) from None
    return DATASETS
