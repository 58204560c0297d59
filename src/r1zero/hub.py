"""Whether the Hugging Face Hub answers: asked once, and briefly.

Its client tries every file of an unreachable name six times, with pauses, before it says so: 25 to 45 seconds for what
one question tells. Where the Hub does not answer, the client is told to work offline: what its cache holds is read, and
all else fails at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from r1zero.errors import reason

_SECONDS = 5.0  # a Hub that needs longer for an empty answer would need hours for a model


@contextmanager
def reached_or_offline() -> Iterator[str]:
    """Whatever loads from the Hub goes in here. Gives the reason why the Hub cannot be reached, "" when it can."""
    from huggingface_hub import constants, get_session
    from huggingface_hub.errors import HTTPError  # pyright: ignore[reportPrivateImportUsage]

    why = ""
    if not constants.is_offline_mode():
        try:
            get_session().head(constants.ENDPOINT, timeout=_SECONDS)  # with whatever status it answers
        except (OSError, HTTPError) as error:
            why = reason(error, None)
    if not why:
        yield ""
        return
    constants.HF_HUB_OFFLINE = True
    try:
        yield f"{constants.ENDPOINT} does not answer: {why}"
    finally:
        constants.HF_HUB_OFFLINE = False
