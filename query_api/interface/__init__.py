"""What the queries take and give, as their API pages show it."""

from query_api.interface import energy, ships

OPERATIONS = (*energy.OPERATIONS, *ships.OPERATIONS)
