"""How many files this process may have open, and which numbers they get."""

import fcntl
import resource
from contextlib import suppress

SELECT_LIMIT = 1024
"""`select()`, which paho uses, takes no file whose number is as high. Connections and temporary files, of which
strangers can open many, therefore get numbers from here on where the limit allows it."""
WANTED = 16_384
RESERVED = 256
"""Files of the process's own where all have numbers below `SELECT_LIMIT`: databases, the broker, libraries."""


def raise_limit() -> int:
    """Raise the soft limit of open files as far as the hard one allows and we can use, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):  # macOS refuses what is beyond a limit of its own
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return WANTED if soft == resource.RLIM_INFINITY else soft


def connection_limit(files: int, most: int) -> int:
    """Tell how many connections there may be with so many open files: each may need a temporary file besides."""
    free = files - SELECT_LIMIT if files >= 2 * SELECT_LIMIT else min(files, SELECT_LIMIT) - RESERVED
    return max(1, min(most, free // 2))


def moved_up(number: int) -> int:
    """Duplicate a file to a number beyond what `select()` takes, if there is one free, else to any.

    Raises:
        OSError: too many files are open.

    """
    try:
        return fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, SELECT_LIMIT)
    except OSError:
        return fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 0)
