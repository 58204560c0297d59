"""What a recipe leaves to the machine and a run decides once, as it begins: it goes on with what it has recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from r1zero.config import Section
from r1zero.config.load import SectionT

_KNOWN = ("auto", "off", "bfloat16")


def autocast_of(asked: str, facts: Mapping[str, Any]) -> str:
    """Return the precision that a run of these facts computes in, where `asked` may leave it to the machine: `auto`
    remains where the machines of a cluster decide.
    """
    if asked != "auto":
        return asked
    found = facts.get("autocast")
    if found in _KNOWN:
        return str(found)
    # runs of before did not record it: on CPUs it was off, on one GPU bfloat16
    device = str(facts.get("device")).split(":")[0]
    return {"cpu": "off", "cuda": "bfloat16"}.get(device, "auto")


def as_asked(was: SectionT, now: Section, facts: Mapping[str, Any]) -> SectionT:
    """Return a run's recipe with the word of `now` for its precision, where both mean the same for this run."""
    before, after = (getattr(getattr(each, "learner", None), "autocast", None) for each in (was, now))
    if before is None or after is None or autocast_of(before, facts) != autocast_of(after, facts):
        return was
    learner: Any = was.learner  # type: ignore[attr-defined]
    return was.model_copy(update={"learner": learner.model_copy(update={"autocast": after})})


def graders_noted(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return notes where another version of the verifier, or of the built-in rewards, grades from here on."""
    told = {
        "verifier_fingerprint": "started with another verifier: from here on some responses may be graded otherwise",
        "builtin_rewards_fingerprint": "started with other built-in rewards: from here on some may give other numbers",
    }
    return [
        said for name, said in told.items() if None not in (was.get(name), now.get(name)) and was[name] != now[name]
    ]
