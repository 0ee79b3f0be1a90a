"""Locks on files, which end with the process that holds them; and what runs do on disks that have none."""

from __future__ import annotations

import errno
import sys
from functools import cache
from pathlib import Path
from typing import IO

from environment import say

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_HELD = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
"""What a system says of a file that another process has locked: flock, flock over NFS, and Windows."""
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)
"""What a system says where the disk has no locks, such as a network drive."""


def take_alone(file: IO[bytes]) -> None:
    """Take a lock that only this process has, until the file is closed. Raises OSError where another process has it,
    and where the disk has none."""
    if sys.platform == "win32":
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def lock_alone(file: IO[bytes], folder: Path) -> None:
    """`take_alone`; where the disk has no locks, say so.

    folder: what it is for, for the message. Raises BlockingIOError where another process has it, and OSError.
    """
    try:
        take_alone(file)
    except OSError as problem:
        if problem.errno in _HELD:
            raise BlockingIOError(problem.errno, problem.strerror, str(folder)) from problem
        _go_on_without(problem, folder)


def lock_shared(file: IO[bytes], folder: Path) -> None:
    """Wait for a lock that several processes can have, until the file is closed; where the disk has none, say so.

    folder: what it is for, for the message.
    Windows has none of that kind, and needs none here: a folder cannot be renamed while a file in it is open. Raises
    OSError.
    """
    if sys.platform == "win32":
        return
    try:
        fcntl.flock(file, fcntl.LOCK_SH)
    except OSError as problem:
        _go_on_without(problem, folder)


def _go_on_without(problem: OSError, folder: Path) -> None:
    """Say that there are no locks. Raises the problem itself where it is another one."""
    if problem.errno not in _NO_LOCKS:
        raise problem
    _say_once(f"The disk of {folder} has no locks ({problem.strerror}): let no second run use it meanwhile.")


@cache
def _say_once(sentence: str) -> None:
    say(sentence)
