"""The cells of some rows, as pandas reads them."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from power_cli.importing.layout import Layout

if TYPE_CHECKING:
    import pandas as pd


def frame_of(texts: Sequence[str], layout: Layout) -> "pd.DataFrame":
    """Read the cells of rows that are whole, without blanks around them; those that are missing are empty."""
    import pandas as pd  # noqa: PLC0415  # 0.3 s, for imports alone

    width = len(layout.header)
    frame = pd.read_csv(
        io.StringIO("\n".join(texts)),
        sep=layout.separator,
        header=None,
        names=range(width),
        index_col=False,
        dtype="str",
        keep_default_na=False,
        skip_blank_lines=False,
        skipinitialspace=True,
        low_memory=False,
    )
    if len(frame) != len(texts):
        raise RuntimeError(f"pandas found {len(frame)} rows in {len(texts)}")
    for column in frame.columns:
        frame[column] = frame[column].str.strip()
    return frame


def cells(frame: "pd.DataFrame", column: int) -> list[str]:
    """Return the cells of a column."""
    texts: list[str] = frame[column].tolist()
    return texts


def stamp_texts(frame: "pd.DataFrame", places: Sequence[int]) -> list[str]:
    """Return the texts of timestamps; date and time of day may be in two columns."""
    texts = cells(frame, places[0])
    if len(places) > 1:
        texts = [f"{date} {clock}".strip() for date, clock in zip(texts, cells(frame, places[1]), strict=True)]
    return texts
