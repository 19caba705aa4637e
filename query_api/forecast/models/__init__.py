"""The forecast models: auto (the default), those that compete in it, and LSTM.

A new model is a module here, implements `Model` in `forecast/fit.py`, has its name in `ModelName`, and is made by
`routes/forecast.py` and `./power backtest`.
"""

from typing import Literal

ModelName = Literal["auto", "yesterday", "seasonal_naive", "recent_days", "recent_weeks", "linear", "pooled", "lstm"]
