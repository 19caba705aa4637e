"""Columns of the tables as statements select them: row by row, and as arrays that `arrays.columns_of` takes."""

from shared.domain.readings import Kind

_KIND = " ".join(f"WHEN '{kind.unit}' THEN {kind.value}" for kind in Kind)
READING = f"ship, time_us, value, CASE unit {_KIND} END::smallint AS kind, sent_at_us"
READINGS = "array_agg(ship), array_agg(time_us), array_agg(value), array_agg(kind), array_agg(sent_at_us)"
SLOT = "ship, start_s, kwh, covered_s, provisional"
SLOTS = "array_agg(ship), array_agg(start_s), array_agg(kwh), array_agg(covered_s), array_agg(provisional)"
