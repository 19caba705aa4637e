"""Decodes a message of a ship's topic: a batch of readings, a deletion, or a table of covariates."""

from shared.contract import covariates, deletion
from shared.contract.acceptance import Rules
from shared.contract.batch import Batch
from shared.contract.decoding import checked, parsed
from shared.contract.wire import Judge


def decode(payload: bytes, rules: Rules, now_us: int, *, topic_ship: int) -> Batch:
    """Decode a message. For the arguments and errors see `decoding.receive`."""
    judge = Judge(rules, now_us, topic_ship)
    raw = parsed(payload, judge)
    if isinstance(raw, dict):
        if "delete" in raw:
            return deletion.checked(raw, judge, topic_ship)
        if "covariates" in raw:
            return covariates.checked(raw, judge, topic_ship)
    return checked(raw, judge).batch
