"""Processes kept running: when they are started again, when they are given up, and how they are stopped."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from power_cli import supervisor
from power_cli.supervisor import Process, StartError, supervise
from tests.support.waiting import until

READY = "import os; os.write(int(os.environ['POWER_READY_FD']), b'ready'); "
FOR_EVER = "import time; time.sleep(60)"


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """`supervise` takes signals over; afterwards they are pytest's again."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def process(code: str, name: str = "one") -> Process:
    return Process(name, [sys.executable, "-c", code], os.environ)


def ended(one: Process) -> int:
    """Tend a process until it ends; give its status."""
    status = until(
        lambda: [found for found in [one.poll()] if found is not None],
        "the process ends",
    )
    return status[0]


def test_it_is_ready_when_it_says_so_and_not_before(tmp_path: Path) -> None:
    go = tmp_path / "go"
    one = process(f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.01)\n{READY}{FOR_EVER}")
    one.start()
    for _ in range(10):
        one.poll()
        time.sleep(0.02)
    assert not one.ready
    go.touch()
    until(lambda: one.poll() or one.ready, "it is ready")
    one.stop()


def test_it_is_not_started_again_before_its_time_and_leaves_no_pipe_behind() -> None:
    one = process("")
    descriptors = len(list(Path("/proc/self/fd").iterdir())) if sys.platform == "linux" else 0
    one.start()
    assert ended(one) == 0
    if sys.platform == "linux":
        assert len(list(Path("/proc/self/fd").iterdir())) == descriptors
    delay_s = one.restart_later()
    assert delay_s == 0.5
    assert one.poll() is None
    assert one._popen is None
    until(lambda: one.poll() or one._popen, "it runs again")
    one.stop()


def test_the_pause_grows_while_it_keeps_dying_up_to_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And is short again after it has run for long."""
    one = process("")
    one.start()
    ended(one)
    assert [one.restart_later() for _ in range(7)] == [0.5, 1, 2, 4, 8, 10, 10]
    monkeypatch.setattr(supervisor, "STEADY_S", -1)
    assert one.restart_later() == 0.5


def test_it_is_asked_to_end_before_it_is_killed(tmp_path: Path) -> None:
    said = tmp_path / "said"
    tidy = f"import signal, sys\nsignal.signal(15, lambda *_: (open({str(said)!r}, 'w').close(), sys.exit()))\n"
    one = process(tidy + READY + FOR_EVER)
    one.start()
    until(lambda: one.poll() or one.ready, "it is ready")
    one.stop()
    assert said.exists()


def test_what_does_not_end_is_killed(caplog: pytest.LogCaptureFixture) -> None:
    one = process("import signal; signal.signal(15, signal.SIG_IGN); " + READY + FOR_EVER)
    one.start()
    popen = one._popen
    assert popen is not None
    until(lambda: one.poll() or one.ready, "it is ready")
    one.stop(0.2)
    assert popen.returncode == -signal.SIGKILL
    assert "one did not end in" in caplog.text


def test_a_ctrl_c_reaches_the_supervisor_alone() -> None:
    """Which then stops them in order: each child leads a session of its own."""
    one = process(FOR_EVER)
    one.start()
    assert one._popen is not None
    assert os.getsid(one._popen.pid) == one._popen.pid
    one.stop()


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import sys; sys.exit(1)", r"one did not start \(status 1\)"),
        (FOR_EVER, "not ready after 1 s: one"),
    ],
    ids=["died before it was ready", "never ready"],
)
def test_what_cannot_come_up_ends_everything(monkeypatch: pytest.MonkeyPatch, code: str, why: str) -> None:
    """To start it again and again would help nobody; the others are stopped."""
    monkeypatch.setattr(supervisor, "FIRST_START_S", 1.0)
    too_late = threading.Timer(10, lambda: os.kill(os.getpid(), signal.SIGTERM))
    too_late.start()
    other = process(READY + FOR_EVER, "other")
    started: list[subprocess.Popen[bytes] | None] = []
    with pytest.raises(StartError, match=why):
        supervise([other, process(code)], lambda: started.append(other._popen))
    too_late.cancel()
    assert other._popen is None
    assert all(each is not None and each.returncode is not None for each in started)


def test_they_are_stopped_in_the_order_against_their_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The broker, which the others need, comes first and goes last."""
    stopped: list[str] = []
    stop = Process.stop

    def watched(one: Process, limit_s: float) -> None:
        stopped.append(one.name)
        stop(one, limit_s)

    monkeypatch.setattr(Process, "stop", watched)
    both = [process(READY + FOR_EVER, name) for name in ("first", "last")]
    supervise(both, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert stopped == ["last", "first"]
    assert [one._popen for one in both] == [None, None]
