"""The outbox on disks that are full, read-only or broken, and after a sudden end: clear errors, nothing lost."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest

from ingest_api.outbox.file import FILE_NAME
from ingest_api.outbox.outbox import Outbox
from power_cli.up import ROOT
from shared.domain.errors import InvalidSettings, Unavailable
from tests.support.disks import fill_up, tmpfs
from tests.support.outbox import ROOM, an_outbox, decide, entry, stored

SIZE = 100_000
DISK_BYTES = 64 * 1024 * 1024
QUOTA_BYTES = 20 * 1024 * 1024
ACCEPTING = """
import sys
from pathlib import Path
from ingest_api.outbox.outbox import Outbox
from tests.support.outbox import entry
outbox = Outbox(Path(sys.argv[1]), 1 << 30)
while True:
    made = entry(payload=b"x" * 1000)
    outbox.accept(made)
    print(made.batch_id, flush=True)
"""
WITH_QUOTA = """
import resource, sys
from pathlib import Path
from ingest_api.outbox.outbox import Outbox
from shared.domain.errors import Unavailable
from tests.support.outbox import decide, entry
quota = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (quota, quota))
outbox = Outbox(Path(sys.argv[1]), 1 << 30)

def fill():
    made = []
    while True:
        each = entry(payload=b"x" * 10_000)
        try:
            outbox.accept(each)
        except Unavailable as error:
            print("refused:", error, file=sys.stderr)
            return made
        made.append(each)

made = fill()
assert outbox.depth == len(made), (outbox.depth, len(made))
for each in made[1:]:
    decide(outbox, each)
    assert outbox.status(each.batch_id).status == "stored"
again = fill()
print(len(made), len(again), outbox.depth, made[0].batch_id)
outbox.close()
"""


def run(program: str, *arguments: str) -> subprocess.Popen[str]:
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-P", "-c", program, *arguments]
    return subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def fill(outbox: Outbox) -> list[UUID]:
    """Have batches accepted until no more are."""
    made: list[UUID] = []
    while True:
        each = entry(payload=b"x" * SIZE)
        try:
            outbox.accept(each)
        except Unavailable:
            return made
        made.append(each.batch_id)


def waiting(outbox: Outbox) -> list[UUID]:
    return [UUID(each.batch_id) for each in outbox.waiting(0, 100_000, 1 << 40)]


def test_what_was_answered_is_there_after_sigkill(tmp_path: Path) -> None:
    process = run(ACCEPTING, str(tmp_path))
    assert process.stdout is not None
    answered = [UUID(process.stdout.readline().strip()) for _ in range(300)]
    process.send_signal(signal.SIGKILL)
    answered += [UUID(line.strip()) for line in process.stdout.read().splitlines() if len(line) == 36]
    process.communicate()
    with an_outbox(tmp_path) as outbox:
        there = waiting(outbox)
        assert there[: len(answered)] == answered, "all of them, in their order"
        assert len(there) <= len(answered) + 1, "and at most the one that was not answered any more"
        assert outbox.depth == len(there)


def test_a_full_disk_takes_no_more_and_loses_nothing(tmp_path: Path) -> None:
    """And it empties by itself: what is stored can be taken out, and then there is room again."""
    with tmpfs(tmp_path / "disk", f"size={DISK_BYTES}") as disk:
        with an_outbox(disk) as outbox:
            made = fill(outbox)
            assert len(made) * SIZE > DISK_BYTES / 8
            assert not outbox.can_accept()
            assert waiting(outbox) == made
        with an_outbox(disk) as outbox:
            assert waiting(outbox) == made
            for each in made:
                decide(outbox, entry(each))
                assert stored(outbox, each)
            assert outbox.depth == 0
            assert outbox.can_accept()
            assert len(fill(outbox)) > len(made) / 2


def test_a_disk_that_others_fill_takes_no_more_and_loses_nothing(tmp_path: Path) -> None:
    """Also what is decided meanwhile is noted once there is room."""
    with tmpfs(tmp_path / "disk", f"size={DISK_BYTES}") as disk, an_outbox(disk) as outbox:
        made = entry(payload=b"x" * SIZE)
        outbox.accept(made)
        ballast = fill_up(disk)
        with pytest.raises(Unavailable, match="is full"):
            outbox.accept(entry(payload=b"x" * SIZE))
        assert waiting(outbox) == [made.batch_id]
        ballast.unlink()
        decide(outbox, made)
        assert outbox.accept(entry(payload=b"x" * SIZE))[1]


def test_what_is_stored_is_taken_out_though_others_have_filled_the_disk(tmp_path: Path) -> None:
    """The log cannot grow by a byte; but what is in it can go where other batches have been."""
    with tmpfs(tmp_path / "disk", f"size={DISK_BYTES}") as disk:
        with an_outbox(disk) as outbox:
            for made in [entry(payload=b"x" * SIZE) for _ in range(10)]:
                outbox.accept(made)
                decide(outbox, made)
        with an_outbox(disk) as outbox:
            last = entry(payload=b"x" * SIZE)
            outbox.accept(last)
            fill_up(disk)
            decide(outbox, last)
            assert stored(outbox, last.batch_id)
            assert outbox.depth == 0


def test_a_disk_that_is_full_in_the_midst_of_a_commit_keeps_nothing_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where looking beforehand was not enough: SQLite's own error, and not half of a batch."""
    monkeypatch.setattr("ingest_api.outbox.writers.has_disk_for", lambda *_: True)
    with tmpfs(tmp_path / "disk", f"size={DISK_BYTES}") as disk:
        with an_outbox(disk) as outbox:
            made = fill(outbox)
            assert (outbox.depth, waiting(outbox)) == (len(made), made)
        with an_outbox(disk) as outbox:
            assert waiting(outbox) == made


def test_a_quota_takes_no_more_and_loses_nothing(tmp_path: Path) -> None:
    """No file may grow beyond it, the write-ahead log neither; what is stored makes room."""
    process = run(WITH_QUOTA, str(tmp_path), str(QUOTA_BYTES))
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    first, again, depth, kept = out.split()
    assert int(first) * 10_000 > QUOTA_BYTES / 4
    assert int(again) > int(first) / 2
    assert int(depth) == int(again) + 1
    with an_outbox(tmp_path) as outbox:
        there = waiting(outbox)
        assert len(there) == int(depth)
        assert str(there[0]) == kept


def test_a_read_only_folder_is_a_wrong_setting(tmp_path: Path) -> None:
    with (
        tmpfs(tmp_path / "disk", "size=1m,ro") as disk,
        pytest.raises(InvalidSettings, match=f"cannot keep accepted batches in {disk}: Read-only file system"),
    ):
        Outbox(disk, ROOM)


def test_a_folder_that_becomes_read_only_takes_no_more_and_loses_nothing(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "disk", "size=16m") as disk:
        made = entry()
        with an_outbox(disk) as outbox:
            outbox.accept(made)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with pytest.raises(InvalidSettings, match="Read-only"):
            Outbox(disk, ROOM)
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        with an_outbox(disk) as outbox:
            assert waiting(outbox) == [made.batch_id]


def test_while_its_file_is_away_nothing_is_accepted(tmp_path: Path) -> None:
    """SQLite writes on to a file that has been moved or deleted, and nobody would find it at the next start."""
    first, second = entry(), entry()
    with an_outbox(tmp_path) as outbox:
        outbox.accept(first)
        away = (tmp_path / FILE_NAME).rename(tmp_path / "away")
        with pytest.raises(Unavailable, match="the outbox is unavailable"):
            outbox.accept(second)
        assert not outbox.can_accept()
        away.rename(tmp_path / FILE_NAME)
        assert outbox.can_accept()
        outbox.accept(second)
        assert waiting(outbox) == [first.batch_id, second.batch_id]


def test_nothing_is_accepted_into_a_file_that_another_was_put_in_the_place_of(tmp_path: Path) -> None:
    """A copy was restored under a running gateway, say: it would go on with the one that has no name any more."""
    with an_outbox(tmp_path) as outbox:
        outbox.accept(entry())
        away = (tmp_path / FILE_NAME).rename(tmp_path / "away")
        shutil.copy(away, tmp_path / FILE_NAME)
        with pytest.raises(Unavailable, match="another file"):
            outbox.accept(entry())
        assert not outbox.can_accept()
        away.rename(tmp_path / FILE_NAME)
        assert outbox.can_accept()


def test_a_file_where_the_folder_should_be_is_a_wrong_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(InvalidSettings, match="cannot keep accepted batches in"):
        Outbox(tmp_path / "file", ROOM)


@pytest.mark.parametrize("damage", ["no database", "page", "truncated"])
def test_a_damaged_file_is_a_wrong_setting_and_is_left_as_it_is(tmp_path: Path, damage: str) -> None:
    """It may hold accepted batches: whoever runs the service decides."""
    with an_outbox(tmp_path) as outbox:
        for _ in range(50):
            outbox.accept(entry(payload=b"x" * 5000))
    path = tmp_path / FILE_NAME
    data = bytearray(path.read_bytes())
    if damage == "no database":
        data[:16] = b"not a database, "
    elif damage == "page":
        data[20 * 4096 : 60 * 4096] = b"\xa5" * (40 * 4096)
    else:
        del data[len(data) // 2 :]
    path.write_bytes(data)
    for _ in range(2):
        with pytest.raises(InvalidSettings) as raised:
            Outbox(tmp_path, ROOM)
        assert str(path) in str(raised.value)
        assert len(str(raised.value).splitlines()) == 1
        assert path.read_bytes() == data


def test_a_gateway_that_cannot_use_its_outbox_stops_with_one_line(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"x" * 5000)
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "POWER_DATA_DIR": str(tmp_path)}
    command = [sys.executable, "-P", "-m", "ingest_api"]
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert ended.stderr.splitlines() == [ended.stderr.strip()]
    assert FILE_NAME in ended.stderr
