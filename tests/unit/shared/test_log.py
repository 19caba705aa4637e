"""What the log leaves out, by a clock that goes on when it is told to."""

import logging
from collections.abc import Iterator

import pytest

from shared.runtime.log import BURST, WITHIN_S, RateLimit

log = logging.getLogger("tests.log")


@pytest.fixture
def now_s() -> list[float]:
    return [0.0]


@pytest.fixture
def sparing(now_s: list[float], caplog: pytest.LogCaptureFixture) -> Iterator[RateLimit]:
    sparing = RateLimit(lambda: now_s[0])
    with caplog.filtering(sparing), caplog.at_level(logging.INFO):
        yield sparing


@pytest.mark.usefixtures("sparing")
def test_lines_alike_are_written_up_to_a_bound_and_the_next_one_later_tells_how_many_were_not(
    now_s: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    for i in range(BURST + 7):
        log.warning("no room for %d %%", i)
    assert caplog.messages[:2] == ["no room for 0 %", "no room for 1 %"]
    assert caplog.messages[-1].startswith(f"no room for {BURST - 1} % (further lines of this kind are only counted")
    assert len(caplog.messages) == BURST

    now_s[0] = WITHIN_S
    log.warning("no room for %d %%", 99)
    log.warning("no room for %d %%", 100)
    assert caplog.messages[BURST:] == ["no room for 99 % (7 more of this kind were left out)", "no room for 100 %"]


@pytest.mark.usefixtures("sparing")
def test_a_flood_of_one_kind_keeps_no_other_out(caplog: pytest.LogCaptureFixture) -> None:
    for i in range(BURST * 3):
        log.warning("no room for %d", i)
    log.error("no room for %d", 1)
    log.warning("the disk is full")
    logging.getLogger("tests.other").warning("no room for %d", 2)
    assert caplog.messages[BURST:] == ["no room for 1", "the disk is full", "no room for 2"]


@pytest.mark.usefixtures("sparing")
def test_what_comes_slowly_is_all_written(now_s: list[float], caplog: pytest.LogCaptureFixture) -> None:
    for i in range(BURST * 3):
        log.info("batch %d", i)
        now_s[0] += WITHIN_S / (BURST - 1)
    assert len(caplog.messages) == BURST * 3
    assert "left out" not in caplog.text


@pytest.mark.usefixtures("sparing")
def test_a_traceback_of_another_type_is_of_another_kind(caplog: pytest.LogCaptureFixture) -> None:
    for error in [*[ValueError()] * BURST * 2, OSError()]:
        log.error("it has failed", exc_info=error)
    assert len(caplog.records) == BURST + 1
    assert caplog.text.endswith("OSError\n")


@pytest.mark.usefixtures("caplog")
def test_a_log_call_with_wrong_arguments_does_not_raise_in_the_filter() -> None:
    """It is for the handler to say so, as without us."""
    sparing = RateLimit(lambda: 0.0)
    records = [logging.LogRecord("wrong", logging.INFO, "", 0, "%d of %d", (1,), None) for _ in range(BURST + 1)]
    assert [sparing.filter(each) for each in records] == [True] * BURST + [False]


def test_a_line_that_comes_in_the_middle_of_another_is_written() -> None:
    """From a signal's handler, or from whatever is collected just then: it must not wait for the line around it."""
    record = logging.LogRecord("within", logging.INFO, "", 0, "a line", (), None)
    within: list[bool] = []

    def now_s() -> float:
        if not within:
            within.append(True)
            within.append(spared.filter(record))
        return 0.0

    spared = RateLimit(now_s)
    assert spared.filter(record)
    assert within == [True, True]
