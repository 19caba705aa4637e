"""Runs several processes as one: starts them, restarts those that die, and stops all of them."""

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
"""Long enough for a new version to migrate large files, which begins anew if it is interrupted."""
STOP_S = 8.5
"""The time for all processes together to end."""
LEAST_S = 0.5
"""The least time for each process to end, however long the others took."""
FIRST_RESTART_S = 0.5
LAST_RESTART_S = 10.0
STEADY_S = 30.0
"""After a run this long, a process restarts with the shortest delay again."""
TICK_S = 0.02
READY_TICK_S = 0.05
"""Short enough that a process over its memory limit cannot grow much more between two checks."""
PR_SET_PDEATHSIG = 1
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class StartError(PowerError):
    """The processes cannot be started; the message says which one, and why."""


@dataclass(slots=True, eq=False)
class Process:
    """One process to keep running.

    Attributes:
        name: its name in the log.
        command: the program and its arguments.
        environ: its environment.
        is_ready: tells whether it is ready; None if it reports so by `shared.runtime.process.announce_ready`.
        max_bytes: memory limit, beyond which it is killed and restarted; None is no limit. Linux only.
        on_too_large: called before that restart, to remove what would fill its memory again.

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
        """Start it; its output goes to our standard error."""
        self._ready_fd, write_fd = os.pipe()
        os.set_blocking(self._ready_fd, False)
        try:
            self._popen = subprocess.Popen(
                self.command,
                env={**self.environ, READY_FD: str(write_fd)},
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr,
                pass_fds=(write_fd,),
                start_new_session=True,  # Ctrl-C is for this process, which stops the others in order
                preexec_fn=_end_with_parent,  # noqa: PLW1509  # this process has one thread
            )
        except OSError as error:
            self._forget_pipe()
            raise StartError(f"{self.name} cannot be started: {error}") from None
        finally:
            os.close(write_fd)
        self._started_s = time.monotonic()

    def poll(self) -> int | None:
        """Restart it if that is due, notice whether it is ready, and return its status if it has just ended."""
        if self._popen is None:
            if time.monotonic() >= self._due_s:
                self.start()
            return None
        if self._is_too_large(self._popen.pid):
            log.error("%s uses more than %d MiB of memory; killing it", self.name, (self.max_bytes or 0) // 2**20)
            self._popen.kill()
            self._popen.wait()
            self.on_too_large()
        status = self._popen.poll()
        if status is not None:
            self._popen = None
            self._forget_pipe()
            return status
        if self._ready_fd is not None and (self.is_ready() if self.is_ready else self._has_announced()):
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
        """Schedule a restart, and return its delay, which grows while the process keeps dying."""
        if time.monotonic() - self._started_s > STEADY_S:
            self._delay_s = FIRST_RESTART_S
        delay_s, self._delay_s = self._delay_s, min(2 * self._delay_s, LAST_RESTART_S)
        self._due_s = time.monotonic() + delay_s
        return delay_s

    def stop(self, limit_s: float = STOP_S) -> None:
        """Stop it with SIGTERM; kill it if it does not end in time."""
        if self._popen is None:
            return
        if not stop(self._popen, limit_s):
            log.warning("%s did not end in %.1f s and is killed", self.name, limit_s)
        self._popen = None
        self._forget_pipe()

    def _has_announced(self) -> bool:
        try:
            return self._ready_fd is not None and os.read(self._ready_fd, 16) != b""
        except BlockingIOError:
            return False

    def _forget_pipe(self) -> None:
        if self._ready_fd is not None:
            os.close(self._ready_fd)
            self._ready_fd = None


def stop(process: subprocess.Popen[bytes], limit_s: float) -> bool:
    """Stop a process with SIGTERM; kill it, and return False, if it does not end in time."""
    process.terminate()
    try:
        process.wait(limit_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False
    return True


def supervise(processes: Sequence[Process], when_ready: Callable[[], None]) -> None:
    """Keep processes running until a signal stops this one; then stop them, the last one first.

    Raises:
        StartError: one of them did not become ready at the first start; the others are stopped.

    """
    stopping: list[bool] = []
    on_stop(lambda: stopping.append(True))
    all_ready = False
    deadline = time.monotonic() + FIRST_START_S
    try:
        for process in processes:
            process.start()
        while not stopping:
            for process in processes:
                status = process.poll()
                if status is not None:
                    _ended(process, status)
            if not all_ready and all(process.ready for process in processes):
                all_ready = True
                when_ready()
            if not all_ready and time.monotonic() > deadline:
                late = ", ".join(process.name for process in processes if not process.ready)
                raise StartError(f"not ready after {FIRST_START_S:.0f} s: {late}")
            time.sleep(READY_TICK_S if all_ready else TICK_S)
        log.info("stopping; work in progress is finished first, which takes 10 s at most")
    finally:
        stop_s = time.monotonic() + STOP_S
        for process in reversed(processes):
            process.stop(max(stop_s - time.monotonic(), LEAST_S))


def _ended(process: Process, status: int) -> None:
    if not process.ready:
        raise StartError(f"{process.name} did not start (status {status})")
    why = signal.Signals(-status).name if status < 0 else f"status {status}"
    log.error("%s died (%s); starting it again in %.1f s", process.name, why, process.restart_later())


def _end_with_parent() -> None:
    """Ask the kernel to end this child when its parent dies, for whatever reason."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
