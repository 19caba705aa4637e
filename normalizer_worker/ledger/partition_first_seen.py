"""First-seen times of a cluster: rows in PostgreSQL beside the readings, so that they move with their partition."""

from collections.abc import Callable, Sequence

import numpy as np

from normalizer_worker.ledger.first_seen import DELETED_BESIDES, KEPT_US, Seen
from shared.domain.clock import now_us
from shared.store.postgres.partition import PostgresPartition

_RECORD = """
INSERT INTO first_seen (partition, key, first_us, noted_us, content)
SELECT %s, u.key, u.first_us, %s, u.content
FROM unnest(%s::bytea[], %s::bigint[], %s::bytea[]) AS u (key, first_us, content) ON CONFLICT DO NOTHING
"""
# What is sorted in a subquery is looked up key by key. With `key = ANY` the server may compare each row with each key.
_FIRST = """
SELECT f.key, f.first_us, f.content FROM unnest(%s::bytea[]) AS u (key) CROSS JOIN LATERAL (
    SELECT key, first_us, content FROM first_seen WHERE partition = %s AND key = u.key ORDER BY key LIMIT 1
) AS f
"""
_DELETE_OLD = """
DELETE FROM first_seen WHERE partition = %s AND key IN (
    SELECT key FROM first_seen WHERE partition = %s AND noted_us < %s ORDER BY noted_us LIMIT %s
)
"""


class PartitionFirstSeen:
    """The first-seen times of at least a day in one partition, for the worker that owns it; a `FirstSeenStore`."""

    def __init__(self, partition: PostgresPartition, now_us: Callable[[], int] = now_us) -> None:
        """Write under the fence of a partition."""
        self._partition = partition
        self._now_us = now_us

    def first(self, seen: Sequence[Seen]) -> list[int | None]:
        """Return first-seen times, and record those of new batches; None where the key has other content.

        As in `FirstSeenTimes`, `seen` has the batches in the order of arrival.

        Raises:
            Unavailable: another worker owns the partition, or the server does not answer. Nothing is recorded.

        """
        of, noted_us = self._partition.number, self._now_us()
        keys, contents = [each.key for each in seen], [each.content or None for each in seen]
        times_us = np.array([each.received_us for each in seen], np.int64)
        with self._partition.fenced() as transaction:
            _, found, _ = transaction.run(
                [
                    (_RECORD, (of, noted_us, keys, times_us, contents)),
                    (_FIRST, (keys, of)),
                    (_DELETE_OLD, (of, of, noted_us - KEPT_US, len(seen) + DELETED_BESIDES)),
                ]
            )
            first = {key: (first_us, content) for key, first_us, content in found.fetchall()}
        return [
            first[key][0] if first[key][1] == content else None for key, content in zip(keys, contents, strict=True)
        ]
