"""Windows of slots."""

import pytest

from shared.domain.slots import NOWHEN, Window


@pytest.mark.parametrize(
    ("window", "other", "both"),
    [
        (Window(), Window(), Window()),
        (Window(900), Window(None, 1800), Window(900, 1800)),
        (Window(900, 2700), Window(1800, 3600), Window(1800, 2700)),
        (Window(0, 900), Window(900, 1800), Window(900, 900)),
        (Window(None, 900), Window(1800), NOWHEN),
        (Window(900), NOWHEN, NOWHEN),
    ],
)
def test_a_window_is_cut_to_another_one(window: Window, other: Window, both: Window) -> None:
    assert window.cut_to(other) == other.cut_to(window) == both
