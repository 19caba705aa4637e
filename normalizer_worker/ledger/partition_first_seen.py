"""First-seen times of a cluster: rows in PostgreSQL beside the readings, so that they move with their partition."""

from collections.abc import Callable, Sequence

import numpy as np

from normalizer_worker.ledger.first_seen import DELETED_BESIDES, KEPT_US
from shared.domain.clock import now_us
from shared.store.postgres.partition import PostgresPartition

_RECORD = """
INSERT INTO first_seen (partition, key, first_us, noted_us)
SELECT %s, u.key, u.first_us, %s FROM unnest(%s::bytea[], %s::bigint[]) AS u (key, first_us) ON CONFLICT DO NOTHING
"""
_FIRST = "SELECT key, first_us FROM first_seen WHERE partition = %s AND key = ANY(%s::bytea[])"
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

    def first(self, seen: Sequence[tuple[bytes, int]]) -> list[int]:
        """Return first-seen times in microseconds since 1970, and record those of new batches; see `FirstSeenTimes`.

        Raises:
            Unavailable: another worker owns the partition, or the server does not answer. Nothing is recorded.

        """
        of, noted_us = self._partition.number, self._now_us()
        keys, times_us = [key for key, _ in seen], np.array([received_us for _, received_us in seen], np.int64)
        with self._partition.fenced() as transaction:
            _, found, _ = transaction.run(
                [
                    (_RECORD, (of, noted_us, keys, times_us)),
                    (_FIRST, (of, keys)),
                    (_DELETE_OLD, (of, of, noted_us - KEPT_US, len(seen) + DELETED_BESIDES)),
                ]
            )
            first_us = dict(found.fetchall())
        return [first_us[key] for key in keys]
