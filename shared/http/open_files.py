"""The limit of open files, and which descriptors they get."""

import fcntl
import resource
from contextlib import suppress

SELECT_LIMIT = 1024
"""paho uses `select()`, which supports only descriptors below this. Client connections and temporary files therefore
get descriptors from here on, if the limit allows it."""
WANTED = 16_384
RESERVED = 256
"""Descriptors kept for the process itself if all are below `SELECT_LIMIT`: databases, the broker, libraries."""


def raise_limit() -> int:
    """Raise the soft limit of open files to `WANTED`, or as far as the hard limit allows, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):  # macOS has a lower limit of its own
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return WANTED if soft == resource.RLIM_INFINITY else soft


def connection_limit(files: int, most: int) -> int:
    """Return the connection limit for so many open files: each connection may also need a temporary file."""
    free = files - SELECT_LIMIT if files >= 2 * SELECT_LIMIT else min(files, SELECT_LIMIT) - RESERVED
    return max(1, min(most, free // 2))


def moved_up(number: int) -> int:
    """Duplicate a descriptor to one from `SELECT_LIMIT` on, or to any if none is free.

    Raises:
        OSError: too many files are open.

    """
    try:
        return fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, SELECT_LIMIT)
    except OSError:
        return fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 0)
