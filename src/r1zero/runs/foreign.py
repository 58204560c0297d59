"""Files of a folder that may come from anywhere: read only where they are files, and stand in the folder.

Opening a named pipe waits for ever, a device may have no end, and a name in a file may lead to any other.
"""

from __future__ import annotations

from pathlib import Path

from r1zero.errors import UserError, regular


def read_text(path: Path, errors: str = "strict") -> str:
    """Return the text of a file. Raises as `regular`, and UnicodeDecodeError."""
    return regular(path).read_text(encoding="utf-8", errors=errors)


def inside(folder: Path, name: object) -> Path:
    """Return the file that a file of a folder names.

    Raises:
        UserError: the name leads out of the folder: it is absolute, goes up, or is a link to elsewhere.
    """
    leads_out = not isinstance(name, str) or not name or "\0" in name or not _below(folder, name)
    if leads_out:
        raise UserError(
            f"{folder} names the file {name!r}, which is not in it; a folder may name its own files alone: mend the "
            "name, or leave the folder out."
        )
    return folder / str(name)


def _below(folder: Path, name: str) -> bool:
    try:
        return (folder / name).resolve().is_relative_to(folder.resolve()) and ".." not in Path(name).parts
    except (OSError, RuntimeError):  # a loop of links
        return False
