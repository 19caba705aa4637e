"""What a run tells of programs that are missing."""

import pytest

from power_cli.programs import PROGRAMS
from tests.support.programs import NO_ENGINE, missing, told


@pytest.mark.parametrize(
    ("reason", "what"),
    [
        ("nginx is not installed", "nginx"),
        (f"{NO_ENGINE}: docker is not installed", NO_ENGINE),
        ("PyTorch, an extra, is not installed", None),
        ("something is not installed", None),
    ],
)
def test_reason_tells_what_is_missing(reason: str, what: str | None) -> None:
    report = pytest.TestReport("x", ("x", 1, "x"), {}, "skipped", ("x.py", 1, f"Skipped: {reason}"), "setup")
    assert missing(report) == what


def test_each_missing_program_is_one_line() -> None:
    *lines, install, engine = told([*(each.package for each in PROGRAMS), "nginx", NO_ENGINE])
    assert [line.split()[0] for line in lines] == [each.package for each in PROGRAMS]
    assert any("nginx is not installed: 2 tests skipped" in line for line in lines)
    assert "./power test --install" in install
    assert engine == f"{NO_ENGINE}: 1 tests skipped (all of docker-compose.yml, and InfluxDB 2)"
    assert told([]) == []
