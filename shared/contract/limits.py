"""The limits of the contract. All code takes them from here; a test compares the texts that repeat them.

Those texts are the configurations of Mosquitto and nginx, the OpenAPI document and the pages in `docs/`.
"""

MAX_BODY_BYTES = 8 * 1024 * 1024
"""Longest body of a POST, before and after unpacking."""
MAX_GZIP_MEMBERS = 16
"""Members of a gzip body: each costs time, even if it is empty."""
ENVELOPE_BYTES = 256
"""What the gateway adds to a batch at most: `batch_id`, `sent_at`, `accepted_at`."""
MAX_MESSAGE_BYTES = MAX_BODY_BYTES + ENVELOPE_BYTES
"""Longest payload of an MQTT message."""

MAX_READINGS = 100_000
"""Readings in one batch, and in all batches of one body."""
MAX_BATCHES = 10_000
"""Batches in one body, and its lines if it is NDJSON."""
MAX_MEMBERS = 150_000
"""Members of all batches of one body, those of their readings not counted: unknown ones are compared with ours."""
MAX_VALUE = 1e12
"""Largest value of energy in kWh; also its smallest, negated, where negative values are allowed."""
MAX_KW = 1e9
"""Largest power, unless `POWER_MAX_KW` says otherwise."""
MAX_DURATION_S = 31 * 24 * 3600
"""Longest `duration_s` and `max_gap_s`."""
MIN_GAP_S = 900
"""Shortest `max_gap_s`."""
MAX_SLOTS = 200_000
"""Slots that the readings of one batch cover, or all batches of one body. A year of hourly readings covers 35,000."""

MAX_COVARIATES = 8
"""Columns of a ship's table of covariates."""
MAX_COVARIATE_ROWS = 20_000
"""Its rows."""
MAX_COVARIATE_AHEAD_S = 60 * 24 * 3600
"""How far its timestamps may be ahead of the clock."""

SMALL_BYTES = 64 * 1024
"""JSON up to this size is cheap to parse whatever it contains: the next two limits do not apply to it."""
MAX_CONTAINERS = 210_000
"""Objects and lists in one JSON text: enough for 100,000 readings with one more object or list in each."""
MAX_ELEMENTS = 750_000
"""Members and list entries in one JSON text: enough for 100,000 readings of 6 members each."""

MAX_WAIT_S = 30
"""Longest time that `Prefer: wait=S` makes a POST wait for its receipt."""

MAX_CORRELATION_BYTES = 128
"""Longest Correlation Data of a message; it is returned with the receipt."""
MAX_RESPONSE_TOPIC_BYTES = 128
"""Longest Response Topic of a message. Mosquitto ends the connection of a client that publishes to 200 levels."""
