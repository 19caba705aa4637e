"""Runs a few processes as one: starts them, restarts what dies, and stops them all."""

import ctypes
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from shared.domain.errors import PowerError
from shared.runtime.process import READY_FD, on_stop

log = logging.getLogger(__name__)

FIRST_START_S = 180.0
"""A new version may have to bring large files up to date: cut off, it would begin anew at each start."""
STOP_S = 8.5
"""All of them together have so long to end."""
LEAST_S = 0.5
"""And each of them at least so long, whatever the others took."""
FIRST_RESTART_S = 0.5
LAST_RESTART_S = 10.0
STEADY_S = 30.0
"""A process that has run this long is started again without a longer delay."""
TICK_S = 0.02
READY_TICK_S = 0.05
"""Within this time a process that takes too much memory must not take much more."""
PR_SET_PDEATHSIG = 1
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class StartError(PowerError):
    """The processes cannot be brought up; the message says which one and why."""


@dataclass(slots=True, eq=False)
class Process:
    """One process to keep running.

    Attributes:
        name: what the log calls it.
        command: the program and its arguments.
        environ: its environment.
        is_ready: how to see that it works; None where it says so itself, by `shared.runtime.process.announce_ready`.
        max_bytes: how much memory it may take; beyond it is killed and started again. None is no limit. Linux only.
        on_too_large: called between the two, to remove what would fill its memory again.

    """

    name: str
    command: Sequence[str]
    environ: Mapping[str, str]
    is_ready: Callable[[], bool] | None = None
    max_bytes: int | None = None
    on_too_large: Callable[[], None] = lambda: None
    ready: bool = field(default=False, init=False)
    _popen: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _ready_fd: int | None = field(default=None, init=False)
    _started_s: float = field(default=0.0, init=False)
    _due_s: float = field(default=0.0, init=False)
    _delay_s: float = field(default=FIRST_RESTART_S, init=False)

    def start(self) -> None:
        """Start it; what it writes goes where our own log goes."""
        self._ready_fd, say = os.pipe()
        os.set_blocking(self._ready_fd, False)
        try:
            self._popen = subprocess.Popen(
                self.command,
                env={**self.environ, READY_FD: str(say)},
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr,
                pass_fds=(say,),
                start_new_session=True,  # a Ctrl-C is for us alone: we stop them in order
                preexec_fn=_end_with_parent,  # noqa: PLW1509  # this process has one thread
            )
        except OSError as error:
            self._forget_pipe()
            raise StartError(f"{self.name} cannot be started: {error}") from None
        finally:
            os.close(say)
        self._started_s = time.monotonic()

    def tend(self) -> int | None:
        """See whether it has become ready, or is due to start again; give its status where it has just ended."""
        if self._popen is None:
            if time.monotonic() >= self._due_s:
                self.start()
            return None
        if self._is_too_large(self._popen.pid):
            log.error("%s takes more than %d MiB of memory and is killed", self.name, (self.max_bytes or 0) // 2**20)
            self._popen.kill()
            self._popen.wait()
            self.on_too_large()
        status = self._popen.poll()
        if status is not None:
            self._popen = None
            self._forget_pipe()
            return status
        if self._ready_fd is not None and (self.is_ready() if self.is_ready else self._heard()):
            if self.ready:
                log.info("%s works again", self.name)
            self.ready = True
            self._forget_pipe()
        return None

    def _is_too_large(self, pid: int) -> bool:
        if self.max_bytes is None or sys.platform != "linux":
            return False
        try:
            resident_pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
        except (OSError, IndexError):  # it has just ended
            return False
        return resident_pages * PAGE_BYTES > self.max_bytes

    def restart_later(self) -> float:
        """Have it started again after a delay, which grows while it keeps dying; give the delay."""
        if time.monotonic() - self._started_s > STEADY_S:
            self._delay_s = FIRST_RESTART_S
        delay_s, self._delay_s = self._delay_s, min(2 * self._delay_s, LAST_RESTART_S)
        self._due_s = time.monotonic() + delay_s
        return delay_s

    def stop(self, limit_s: float = STOP_S) -> None:
        """Ask it to end; where it does not in time, end it."""
        if self._popen is None:
            return
        self._popen.terminate()
        try:
            self._popen.wait(limit_s)
        except subprocess.TimeoutExpired:
            log.warning("%s did not end in %.1f s and is killed", self.name, limit_s)
            self._popen.kill()
            self._popen.wait()
        self._popen = None
        self._forget_pipe()

    def _heard(self) -> bool:
        try:
            return self._ready_fd is not None and os.read(self._ready_fd, 16) != b""
        except BlockingIOError:
            return False

    def _forget_pipe(self) -> None:
        if self._ready_fd is not None:
            os.close(self._ready_fd)
            self._ready_fd = None


def supervise(processes: Sequence[Process], when_ready: Callable[[], None]) -> None:
    """Keep processes running until this one is told to stop; then stop them, the last one first.

    Raises:
        StartError: one of them did not come up at the first start; the others are stopped.

    """
    stop: list[bool] = []
    on_stop(lambda: stop.append(True))
    told = False
    deadline = time.monotonic() + FIRST_START_S
    try:
        for process in processes:
            process.start()
        while not stop:
            for process in processes:
                status = process.tend()
                if status is not None:
                    _ended(process, status)
            if not told and all(process.ready for process in processes):
                told = True
                when_ready()
            if not told and time.monotonic() > deadline:
                late = ", ".join(process.name for process in processes if not process.ready)
                raise StartError(f"not ready after {FIRST_START_S:.0f} s: {late}")
            time.sleep(TICK_S if not told else READY_TICK_S)
        log.info("stopping; what is in hand is finished first, which takes 10 s at most")
    finally:
        stop_s = time.monotonic() + STOP_S
        for process in reversed(processes):
            process.stop(max(stop_s - time.monotonic(), LEAST_S))


def _ended(process: Process, status: int) -> None:
    if not process.ready:
        raise StartError(f"{process.name} did not start (status {status})")
    log.error("%s died (%s); starting it again in %.1f s", process.name, _why(status), process.restart_later())


def _why(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"status {status}"


def _end_with_parent() -> None:
    """Have the kernel end this child when its parent dies, however that happens."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
