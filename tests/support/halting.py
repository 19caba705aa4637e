"""Starts a worker of a cluster that halts itself once, as SIGSTOP does, in its first transaction that stores readings.

    HALTS=before python -m tests.support.halting

`before` is when it has read what it needs and sent nothing; `inside` is when only the COMMIT is missing.
"""

import os
import signal
from collections.abc import Sequence
from typing import Any

from normalizer_worker.__main__ import main
from shared.runtime.process import run
from shared.store.postgres.writer import Statement, Transaction


def halt_once(where: str) -> None:
    """Have this process halt there."""
    run_statements, halted = Transaction.run, list[str]()

    def halt() -> None:
        halted.append(where)
        os.kill(os.getpid(), signal.SIGSTOP)

    def wrapped(self: Transaction, statements: Sequence[Statement]) -> Any:
        is_here = not halted and any("INSERT INTO readings" in query for query, _ in statements)
        if is_here and where == "before":
            halt()
        ran = run_statements(self, statements)
        if is_here and where == "inside":
            halt()
        return ran

    Transaction.run = wrapped  # type: ignore[method-assign]  # it is replaced on purpose


if __name__ == "__main__":
    halt_once(os.environ["HALTS"])
    run(main)
