"""One process at a time in an output folder: a lock of the operating system on a file that is never replaced.

The lock belongs to the process: however that ends, the kernel lets go of it, so a dead process blocks nobody. The file
is empty and stays, `.r1zero.lock`; only where nothing came of a command it goes again, with the lock held.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from r1zero.errors import UserError

LOCK = ".r1zero.lock"
_LOOKS, _LOOK_S = 5, 0.02  # a report that looks whether a run is under way has the lock for a moment
_BUSY = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)

logger = logging.getLogger(__name__)
_held: dict[Path, int] = {}
"""The folders that this process keeps others from, as they were named, with the open lock file."""


@contextmanager
def exclusive(folder: Path | None) -> Iterator[None]:
    """Keep every other process, and this one, from a second `exclusive` of a folder, which is made if there is none.

    Taken before anything is read or written there. On a file system that knows no locks it goes on and says so. None is
    no folder.

    Raises:
        UserError: another process is at work there; nothing can be written there; or, in the end, the folder is gone.
    """
    if folder is None:
        yield
        return
    made = _make(folder)
    before = _names(folder)
    try:
        descriptor = _held[folder] = _locked(folder)
    except BaseException:
        _remove(made)
        raise
    try:
        yield
        check_there(folder)
    finally:
        if _held.pop(folder, None) is not None:  # else this is a forked child
            if LOCK not in before and _names(folder) == before | {LOCK} and _is(folder / LOCK, descriptor):
                (folder / LOCK).unlink()
                _remove(made)
            os.close(descriptor)


def in_use(folder: Path) -> bool:
    """Tell whether a process has a folder for itself; where there are no locks, nobody knows of one."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in _BUSY
    finally:
        os.close(descriptor)
    return False


def check_there(folder: Path) -> None:
    """Make sure that a folder which this process has for itself is still the one that it was.

    Raises:
        UserError: it was removed, or another stands in its place.
    """
    descriptor = _held.get(folder)
    if descriptor is not None and not _is(folder / LOCK, descriptor):
        raise UserError(
            f"{folder} was removed, moved or replaced while it was written to, and what it held with it; restore it "
            "and go on with --resume, or begin again with another --out."
        )


def _make(folder: Path) -> list[Path]:
    """Make a folder and those above it; return those that were made, the innermost first."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True)
    except FileExistsError:  # a folder, most often; what else there is, opening the lock finds out
        pass
    except OSError as error:
        _remove(missing)
        raise _unwritable(folder, error) from None
    return missing


def _locked(folder: Path) -> int:
    """Return the lock file, open and locked."""
    while True:
        try:  # never through a link: a folder may come from anywhere
            descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        except OSError as error:
            raise _unwritable(folder, error) from None
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise UserError(f"{folder / LOCK} is not a regular file; remove it.")
            _lock(descriptor, folder)
            if _is(folder / LOCK, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # whoever had it took the empty folder away meanwhile


def _lock(descriptor: int, folder: Path) -> None:
    for look in range(_LOOKS):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError as error:
            if error.errno not in _BUSY:
                _say_unlocked(folder, error)
                return
        time.sleep(_LOOK_S if look + 1 < _LOOKS else 0)
    raise UserError(
        f"{folder} is being written by another process; wait for it or end it, and give the same command again (train "
        "and pretrain go on with --resume), or choose another --out."
    )


def _say_unlocked(folder: Path, error: OSError) -> None:
    logger.warning(
            "note: %s is on a file system without locks (%s); see to it that no other process writes there.",
            folder, error.strerror,
        )  # fmt: skip


def _is(path: Path, descriptor: int) -> bool:
    """Tell whether a name still leads to an open file."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except OSError:
        return False


def _names(folder: Path) -> set[str]:
    try:
        return {each.name for each in folder.iterdir()}
    except OSError:  # told when the lock is opened; or the folder is gone
        return set()


def _remove(folders: list[Path]) -> None:
    with suppress(OSError):  # the first that holds something, or is not there
        for each in folders:
            each.rmdir()


def _unwritable(folder: Path, error: OSError) -> UserError:
    return UserError(f"{folder} cannot be written ({error.strerror}); choose another with --out.")


def _release_all() -> None:
    """Let go, in a forked child, of what its parent holds: a child must not keep a dead parent's lock."""
    while _held:
        os.close(_held.popitem()[1])


os.register_at_fork(after_in_child=_release_all)
