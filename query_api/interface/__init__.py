"""What the queries take and give, as their API pages show it."""

from query_api.interface import energy, forecasts, ships

OPERATIONS = (*energy.OPERATIONS, *ships.OPERATIONS, *forecasts.OPERATIONS)
