"""The forecast models: linear (the default), seasonal naive and LSTM.

A new model is a module here, implements `Model` in `forecast/fit.py`, has its name in `ModelName`, and is made by
`routes/forecast.py` and `./power backtest`.
"""

from typing import Literal

ModelName = Literal["linear", "seasonal_naive", "lstm"]
