"""One module per kind of query: its parameters, its schema and its handlers. `service.py` serves their `routes`."""

from query_api.routes import (
    access,
    covariates,
    energy,
    fleet_forecast,
    forecast,
    forecast_accuracy,
    ships,
    stream,
    top_users,
)

OPERATIONS = [
    each
    for module in (energy, stream, top_users, ships, covariates, forecast, fleet_forecast, forecast_accuracy, access)
    for each in module.OPERATIONS
]
"""What the query service can do, for its OpenAPI document."""
