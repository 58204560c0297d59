"""Places that a run's recipe names: where models, questions and code lie may be elsewhere when the run goes on.

What lies there must be the same: facts of the run (`run.json`) have a fingerprint of it, which is what is compared.
A place is told from where the run goes on; a relative one that is not there is looked for where the run was started.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r1zero.config import Keeps, Section, differences, validated
from r1zero.config.load import SectionT
from r1zero.config.overrides import flattened, marked
from r1zero.config.rewards import BUILT_IN
from r1zero.errors import UserError

_COMMAND, _BENCHMARKS, _TEMPLATE, _REWARDS = "cmd:", "evaluation.benchmarks", "template.name", "reward"
_SOURCES = "questions.sources"
_LISTS = (_BENCHMARKS, _SOURCES)


@dataclass(frozen=True, slots=True)
class Proof:
    """What proves a setting's place: a fact of the run, and what that is a fingerprint of."""

    fact: str
    what: str


PLACES: Mapping[str, Proof] = {
    "model.path": Proof("model_fingerprint", "the model"),
    "model.revision": Proof("model_fingerprint", "the model"),
    "objective.reference": Proof("reference_fingerprint", "the model"),
    "questions.name": Proof("questions_fingerprint", "the questions"),
    _SOURCES: Proof("questions_fingerprint", "the questions"),
    _BENCHMARKS: Proof("benchmarks_fingerprint", "the questions"),
    _TEMPLATE: Proof("template_hash", "the template"),
    "verifier.reward": Proof("reward_fingerprint", "the reward's code"),
    _REWARDS: Proof("rewards_fingerprint", "the rewards' code"),
    "corpus.name": Proof("corpus_fingerprint", "the corpus"),
}
"""The settings that are marked `Keeps.PLACE`."""
_SETS = ("questions.name", *_LISTS)
MODELS = ("model_fingerprint", "reference_fingerprint")
CONTENTS = (*MODELS, "corpus_fingerprint")
"""Facts that are compared wherever both are known, whether the place is another or not."""


# ---- what may have moved


def renamed(was: Section, recipe: Section) -> dict[str, tuple[Any, Any]]:
    """Return the places that a recipe names otherwise than the recorded one: setting → (before, now)."""
    old, new = (flattened(each.model_dump(mode="json")) for each in (was, recipe))
    found = {name: (old.get(name), new.get(name)) for name in differences(was, recipe) if name in PLACES}
    return {name: pair for name, pair in found.items() if _places_both(name, *pair)}


def _places_both(setting: str, old: Any, new: Any) -> bool:
    if setting in _LISTS:  # the same but for where the sets lie
        bare = [[{**each, "name": "", "data_dir": None} for each in sets or ()] for sets in (old, new)]
        return bool(old) and bare[0] == bare[1]
    if setting == _REWARDS:  # the same but for where the code of some lies
        rows = [[{**each, "use": "" if _is_code(each["use"]) else each["use"]} for each in found or ()]
                for found in (old, new)]  # fmt: skip
        return bool(old) and rows[0] == rows[1]
    if setting == _TEMPLATE:  # names of the table have no suffix
        return "." in old and "." in new
    return setting != "verifier.reward" or None not in (old, new)


def _is_code(use: str) -> bool:
    return use not in BUILT_IN


def proven(was: Section, recipe: Section, held: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]) -> list[str]:
    """Return the renamed places at which the same lies, by what the run held and holds now."""
    return [name for name in renamed(was, recipe) if _same(PLACES[name].fact, held, facts)]


def _same(fact: str, held: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]) -> bool:
    new = facts.get(fact)
    whole = new is not None and (not isinstance(new, Mapping) or None not in new.values())
    return whole and any(each.get(fact) == new for each in held)


def with_moves(was: SectionT, recipe: SectionT, names: Sequence[str]) -> SectionT:
    """Return the recorded recipe with some of its places as a recipe names them."""
    new = flattened(recipe.model_dump(mode="json"))
    moved = {name: new.get(name) for name in names}
    return validated(was.model_dump(mode="json"), type(was), moved, "the recipe") if moved else was


def notes_of(was: Section, recipe: Section, names: Sequence[str]) -> list[str]:
    """Return a note on places that are others from now on."""
    old, new = (flattened(each.model_dump(mode="json")) for each in (was, recipe))
    told = [f"{name} = {_told(new.get(name))} (before {_told(old.get(name))})" for name in names]
    return [f"the same lies elsewhere, by its fingerprint: {', '.join(told)}"] if told else []


# ---- what is refused


def unproven(run: Path, changed: Sequence[str], pairs: Mapping[str, tuple[Any, Any]], held: Any, facts: Any) -> str:
    """Say why other places are not taken; nothing where other settings have changed too, or nothing is known of it."""
    known = [name for name in changed if name in pairs and facts.get(PLACES[name].fact) is not None]
    if not known or len(known) < len(changed):
        return ""
    setting, (old, new) = known[0], pairs[known[0]]
    place = PLACES[setting]
    before = [each[place.fact] for each in held if each.get(place.fact) is not None]
    if not before or not (parts := _differing(before[-1], facts[place.fact])):
        return (
            f"{setting} = {_told(new)} is another place than {_told(old)}, and {run} has no whole fingerprint of what "
            f"lay there, so nothing proves that {place.what} is the same: put it back to where it was, or a link to "
            "it, and leave the setting out."
        )
    return (
        f"{setting} = {_told(new)} does not hold what {run} was started with at {_told(old)}: {place.what} differs "
        f"({parts}), so continuing would not be the same run; name a place where the same lies, or start another run "
        "with another --out."
    )


def check_contents(run: Path, recipe: Section, held: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]) -> None:
    """Make sure that models and corpora hold what they held, as far as both is known.

    Raises:
        UserError: they do not; it names the setting.
    """
    flat = flattened(recipe.model_dump(mode="json"))
    for setting, place in PLACES.items():
        before = [each[place.fact] for each in held if each.get(place.fact) is not None]
        new = facts.get(place.fact)
        if place.fact not in CONTENTS or new is None or not before or new in before:
            continue
        if parts := _differing(before[-1], new):
            named = setting if flat.get(setting) is not None else "model.path"
            raise UserError(
                f"{named} = {_told(flat.get(named))} does not hold what {run} was started with: {place.what} differs "
                f"({parts}), so continuing would not be the same run; restore what it had, or write --{named} with a "
                "place where that lies."
            )


def check_code(run: Path, before: Mapping[str, Any], now: Mapping[str, Any] | None) -> None:
    """Make sure that the code of a list of rewards is found. Raises UserError naming the reward that is not."""
    for name, mark in (now or {}).items():
        if mark is None and before.get(name) is not None:
            raise UserError(
                f"The code of the reward {name!r}, which {run} was started with, is not found from {Path.cwd()}: write "
                "its use in --reward with the path of its file, /FOLDER/FILE.py:FUNCTION."
            )


def _differing(old: Any, new: Any) -> str:
    """Tell what differs between two fingerprints; nothing where all that is known of both is the same."""
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return "" if old == new else f"fingerprint {old}, now {new}"
    parts = [part for part in new if None not in (old.get(part), new[part]) and old[part] != new[part]]
    return ", ".join(parts)


# ---- where they are


def places(recipe: Section, but: Collection[str] = ()) -> dict[str, Any]:
    """Return the settings that name files or folders which are there, with whole paths: what they are called anywhere.
    Names in `but` never mean a path.
    """
    flat, found = flattened(recipe.model_dump(mode="json")), {}
    for name in marked(type(recipe), Keeps.PLACE):
        whole = _with_paths(name, flat.get(name), lambda path: path if path in but else _whole(path))
        if whole != flat.get(name) or any(Path(path).is_absolute() for path in _paths(name, whole)):
            found[name] = whole
    return found


def placed(was: SectionT, recipe: SectionT, known: Mapping[str, Any], folders: Sequence[Path] = ()) -> SectionT:
    """Return a recipe with the whole paths of places that are not there by the names that it had and has; question
    sets are looked for in `folders`, too.
    """
    old, new = (flattened(each.model_dump(mode="json")) for each in (was, recipe))
    found = {
        name: whole
        for name, whole in known.items()
        if name in PLACES and old.get(name) == new.get(name) != whole
        if _gone(name, new.get(name), whole, folders) and not _gone(name, whole, whole)
    }
    return validated(recipe.model_dump(mode="json"), type(recipe), found, "the recipe") if found else recipe


def check_there(run: Path, recipe: Section, known: Mapping[str, Any], folders: Sequence[Path] = ()) -> None:
    """Make sure that files which a run was started with, and which `known` has whole paths of, are there.

    Raises:
        UserError: one is not; it says how to name another place.
    """
    new = flattened(recipe.model_dump(mode="json"))
    for name, whole in known.items():
        value = new.get(name)
        if gone := _gone(name, value, whole, folders):
            elsewhere = _with_paths(name, value, lambda path, gone=gone: "NEW" if path == gone else path)
            raise UserError(
                f"{name} names {gone}, which {run} was started with and which is not there now (looked for from "
                f"{Path.cwd()}): put it back, or write --{name} {_argument(elsewhere)} with its place in NEW's stead; "
                "what has the same fingerprint is taken."
            )


def _gone(setting: str, value: Any, whole: Any, folders: Sequence[Path] = ()) -> str:
    """Return the first path in a setting that is not there, of those that were: `whole` has these in full."""
    pairs = zip(_paths(setting, value), _paths(setting, whole), strict=False)
    gone = (path for path, full in pairs if Path(full).is_absolute() and not _exists(path))
    also = folders if setting in _SETS else ()
    return next((path for path in gone if not any(_exists(str(folder / path)) for folder in also)), "")


def _exists(path: str) -> bool:
    try:
        return Path(path).expanduser().exists()
    except (OSError, RuntimeError):  # a name that is too long, a home that is nobody's
        return False


def _whole(path: str) -> str:
    return os.path.abspath(Path(path).expanduser()) if _exists(path) else path  # noqa: PTH100  links stay links


def _paths(setting: str, value: Any) -> list[str]:
    """List what may be paths in a setting's value."""
    found: list[str] = []
    _with_paths(setting, value, lambda path: found.append(path) or path)
    return found


def _with_paths(setting: str, value: Any, change: Callable[[str], str]) -> Any:
    """Return a setting's value with everything in it that may be a path changed."""
    if setting in _LISTS and value is None:
        return None
    if setting in _LISTS:
        return [{**each, "name": change(each["name"])} for each in value or ()]
    if setting == _REWARDS:
        return value and [{**each, "use": _code_with_paths(each["use"], change)} for each in value]
    if not isinstance(value, str) or setting == "model.revision":
        return value
    if setting == _TEMPLATE and "." not in value:
        return value
    return _code_with_paths(value, change) if setting == "verifier.reward" else change(value)


def _code_with_paths(value: str, change: Callable[[str], str]) -> str:
    """Return a function or a command with everything in it that may be a path changed."""
    if value.startswith(_COMMAND):
        words = list(_words(value.removeprefix(_COMMAND)))
        new = [change(word) for word in words]
        return value if new == words else f"{_COMMAND} {shlex.join(new)}"
    place, colon, function = value.rpartition(":")
    return f"{change(place)}{colon}{function}" if place.endswith(".py") else value


def _words(command: str) -> Iterator[str]:
    try:
        yield from shlex.split(command)
    except ValueError:  # its quotes do not match, which whoever runs it says
        return


def _told(value: Any) -> str:
    return _toml(value) if value is not None else "none"


def _argument(value: Any) -> str:
    """Return a setting's value as it is written on a command line."""
    return shlex.quote(value if isinstance(value, str) else _toml(value))


def _toml(value: Any) -> str:
    """Return JSON's kinds of values as inline TOML, which has no null: such keys are left out."""
    if isinstance(value, Mapping):
        stated = {key: item for key, item in value.items() if item not in (None, {})}
        items = (f"{key if key.isidentifier() else json.dumps(key)} = {_toml(stated[key])}" for key in stated)
        return f"{{ {', '.join(items)} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value, ensure_ascii=False)
