"""The digest of a batch's content: by it gateways and workers tell a repeat from another batch with its `batch_id`.

It must stay as earlier releases made it: outboxes and stores hold digests for days.
"""

import hashlib

from shared.contract.batch import Batch
from shared.domain.readings import PLAIN


def digest(batch: Batch) -> bytes:
    """Return a digest of ship, kind, `sent_at` and readings or covariates; how they are written makes no difference."""
    if batch.deletes is not None:
        return digest_of_deletion(batch.ship, batch.deletes)
    if batch.covariates is not None:
        text = f"{batch.ship} covariates {batch.sent_at_us} {batch.covariates}"
        return hashlib.sha256(text.encode()).digest()
    found = hashlib.sha256(f"{batch.ship} {batch.kind.unit} {batch.sent_at_us} ".encode())
    found.update(batch.moment_us.tobytes())
    found.update(batch.value.tobytes())
    kind, max_gap_us, rollover, duration_us = batch.kind, batch.max_gap_us, batch.rollover, batch.duration_us
    if kind not in PLAIN or max_gap_us or rollover or duration_us is not None:  # else as earlier releases made it
        found.update(repr((kind, max_gap_us, rollover)).encode())
        found.update(b"" if duration_us is None else duration_us.tobytes())
    return found.digest()


def digest_of_deletion(ship: int, span_us: tuple[int, int]) -> bytes:
    """Return a digest of the ship and the span of a deletion over HTTP, which has no `sent_at`."""
    return hashlib.sha256(f"{ship} delete {span_us}".encode()).digest()
