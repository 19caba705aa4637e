"""How the partitions of a cluster stand: `./power cluster status`."""

import os
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from power_cli.declaring import is_partition
from power_cli.management import ManagementApi
from shared.contract.topology import QUEUE_PREFIX
from shared.runtime.settings import StoreSettings
from shared.store.choice import open_partitions

HEADS = ("partition", "owner", "waiting", "in work", "epoch", "lag")
_COLUMNS = "name,messages_ready,messages_unacknowledged,message_stats.ack_details.rate"


def table(api: ManagementApi) -> str:
    """Return a table with a line for each partition."""
    workers = owners(api)
    epochs = _epochs()
    queues = [each for each in api.get(f"/queues/{{vhost}}?columns={_COLUMNS}") if is_partition(each["name"])]
    rows = [HEADS]
    for queue in sorted(queues, key=lambda each: _number(each["name"])):
        number = _number(queue["name"])
        ready, unacknowledged = queue.get("messages_ready", 0), queue.get("messages_unacknowledged", 0)
        epoch = str(epochs[number]) if number in epochs else "-"
        owner = workers.get(queue["name"], "nobody")
        rows.append((str(number), owner, str(ready), str(unacknowledged), epoch, _lag(queue, ready + unacknowledged)))
    if len(rows) == 1:
        return "RabbitMQ has no partitions yet: run ./power cluster declare\n"
    widths = [max(len(row[place]) for row in rows) for place in range(len(HEADS))]
    return "".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() + "\n" for row in rows
    )


def _number(name: str) -> int:
    return int(name.removeprefix(QUEUE_PREFIX))


def owners(api: ManagementApi) -> dict[str, str]:
    """Return the name of the worker that receives each queue's messages.

    RabbitMQ goes on calling a consumer active after one with a higher priority has replaced it.
    """
    found: dict[str, tuple[int, str]] = {}
    for each in api.get("/consumers/{vhost}"):
        if each["activity_status"] == "single_active":
            queue, priority = each["queue"]["name"], each["arguments"].get("x-priority", 0)
            worker = each["consumer_tag"].rpartition(" #")[0]
            found[queue] = max(found.get(queue, (priority, worker)), (priority, worker))
    return {queue: worker for queue, (_, worker) in found.items()}


def _lag(queue: Mapping[str, Any], messages: int) -> str:
    """Return how long what is there will take at the present rate."""
    if not messages:
        return "0 s"
    rate = queue.get("message_stats", {}).get("ack_details", {}).get("rate", 0)
    return f"{messages / rate:.0f} s" if rate else "stands still"


def _epochs() -> dict[int, int]:
    """Return the epochs in the store, where POWER_STORE_URL names it."""
    settings = StoreSettings.load(os.environ)
    if settings.store != "postgresql":
        return {}
    with closing(open_partitions(settings)) as store:
        return store.epochs()
