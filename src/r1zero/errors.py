"""The one exception for a user's mistake, and the words that sentences to users are made of.

The command line prints the sentence and exits non-zero.
"""


class UserError(Exception):
    """Something the user can mend. The message is one sentence that names the setting (or file) and the remedy."""


def plural(count: int, noun: str) -> str:
    """Say a count with its noun: 1 step, 1,200 steps."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
