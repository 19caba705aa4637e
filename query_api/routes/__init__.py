"""One module per kind of query: its parameters, its schema and its handlers."""

from query_api.routes import energy, forecast, ships, stream, top_users

OPERATIONS = (
    *energy.OPERATIONS,
    *stream.OPERATIONS,
    *top_users.OPERATIONS,
    *ships.OPERATIONS,
    *forecast.OPERATIONS,
)
"""What the query service can do, for its OpenAPI document."""
