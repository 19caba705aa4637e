"""The forecast models: linear (the default), seasonal naive and LSTM."""
