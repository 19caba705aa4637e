"""What a run under chaos has to tell."""

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Report:
    """Figures of one run.

    Attributes:
        seed: of its choices.
        store: `embedded`, `influxdb` or `postgresql`: a cluster.
        fault: what was planted, if anything.
        storm_s: how long processes were killed and stopped.
        all_s: how long it took with starts, checks and the end.
        rounds: how often everything was compared.
        kills: SIGKILLs by process.
        stops: SIGSTOPs by process.
        counts: what was sent, by what became of it.
        recovery_s: the longest time from the moment at which everything ran again to the next word of something stored.
        settled_s: the longest time from the end of the killing until everything accepted was stored.
        compared: how many readings and slots there were to compare in the end.
        figures: what else there is to tell of a cluster.
        differences: all that was not as it should be.

    """

    seed: int
    store: str
    fault: str | None
    storm_s: float = 0.0
    all_s: float = 0.0
    rounds: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    stops: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    recovery_s: float = 0.0
    settled_s: float = 0.0
    compared: dict[str, int] = field(default_factory=dict)
    figures: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)

    def as_json(self) -> str:
        """Write all of it."""
        return json.dumps(
            {name: dict(what) if isinstance(what, Counter) else what for name, what in vars(self).items()}
        )

    def as_text(self) -> str:
        """Write it for people."""
        counts, storm_s = self.counts, max(self.storm_s, 1)
        outcomes = [counts[outcome] for outcome in ("accepted", "rejected", "refused")]
        rows: list[tuple[str, Any]] = [
            ("seed, store", f"{self.seed}, {self.store}" + (f", with the fault {self.fault}" if self.fault else "")),
            ("killing and halting", f"{self.storm_s:.0f} s of {self.all_s:.0f} s; compared {_times(self.rounds)}"),
            ("killed (SIGKILL)", _by_process(self.kills)),
            ("halted (SIGSTOP)", _by_process(self.stops)),
            ("batches sent", f"{counts['sent']:,}, {counts['sent'] / storm_s:.0f} a second"),
            ("  accepted: 201, 202, receipt", f"{outcomes[0]:,}"),
            ("  rejected by the worker", f"{outcomes[1]:,}, as they should be"),
            ("  refused: 409, 422", f"{outcomes[2]:,}, as they should be"),
            ("  sent without asking for a word", f"{counts['sent'] - sum(outcomes):,}"),
            (
                "POSTs made again",
                f"{counts['without an answer']:,} unanswered, {counts['answered 503']:,} at 503",
            ),
            ("messages of ships", f"{counts['published']:,}, with the repeats until a receipt"),
            (
                "read as soon as stored",
                f"{counts['questions answered']:,}; {counts['questions answered 503']:,} got a 503",
            ),
            ("readings accepted", f"{counts['readings']:,}, {counts['readings'] / storm_s:.0f} a second"),
            ("compared in the end", ", ".join(f"{count:,} {what}" for what, count in self.compared.items())),
            *((name, f"{count:,}") for name, count in self.figures.items()),
            ("longest until it worked again", f"{self.recovery_s:.1f} s"),
            ("everything stored", f"{self.settled_s:.1f} s after the last blow"),
            ("differences", len(self.differences) or "none: all that was promised is stored, and nothing else"),
        ]
        table = "\n".join(f"{name:<34}{value}" for name, value in rows)
        told = "".join(f"\n- {each}" for each in self.differences)
        return f"{table}{told}\n"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _by_process(counter: Counter[str]) -> str:
    return f"{counter.total()} ({', '.join(f'{name} {count}' for name, count in sorted(counter.items()))})"
