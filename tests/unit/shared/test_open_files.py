"""How many connections there may be, by the limit of open files."""

import socket

import pytest

from shared.http.open_files import SELECT_LIMIT, connection_limit, moved_up, raise_limit


@pytest.mark.parametrize(
    ("files", "connections"), [(256, 1), (1024, 384), (1500, 384), (2048, 512), (4096, 1536), (20_000, 4000)]
)
def test_each_connection_has_a_file_to_spare(files: int, connections: int) -> None:
    assert connection_limit(files, 4000) == connections


def test_files_of_strangers_leave_the_low_numbers_free() -> None:
    """Paho's `select()` takes no others."""
    if raise_limit() <= SELECT_LIMIT:
        pytest.skip("there are no others here")
    with socket.socket() as low, socket.socket(fileno=moved_up(low.fileno())) as high:
        assert low.fileno() < SELECT_LIMIT <= high.fileno()
