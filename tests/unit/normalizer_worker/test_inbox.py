"""The inbox of a cluster's worker: bounded in bytes, each partition in its order."""

from normalizer_worker.amqp.inbox import MESSAGE_BYTES, Inbox
from normalizer_worker.mqtt.publish import Message


def message(mid: int, size_bytes: int = 1000) -> Message:
    return Message("", b"x" * (size_bytes - MESSAGE_BYTES if size_bytes > MESSAGE_BYTES else 0), False, 1, mid)


def taken(inbox: Inbox, partition: int) -> list[int]:
    found = []
    while (each := inbox.pop(partition)) is not None:
        found.append(each.mid)
    return found


def test_partition_that_waited_longest_is_next() -> None:
    inbox = Inbox()
    for partition in (3, 1, 2, 1):
        inbox.add(partition, message(partition))
    assert [inbox.next_partition() for _ in range(4)] == [3, 1, 2, 3]
    assert taken(inbox, 1) == [1, 1]
    assert [inbox.next_partition() for _ in range(3)] == [2, 3, 2]
    assert taken(inbox, 2) + taken(inbox, 3) == [2, 3]
    assert inbox.next_partition() is None


def test_what_has_no_room_is_put_off_and_so_is_what_follows_in_its_partition() -> None:
    inbox = Inbox(max_bytes=10_000)
    inbox.add(1, first := message(1, 6_000))
    inbox.add(1, message(2, 6_000))
    inbox.add(1, message(3, 2_000))
    inbox.add(2, message(4, 3_000))
    assert taken(inbox, 1) == [1]
    assert taken(inbox, 2) == [4]
    assert inbox.take_put_off() == [], "there is no room before the first is finished"
    inbox.finished(1, first)
    assert inbox.take_put_off() == [2, 3]
    assert inbox.take_put_off() == []
    inbox.add(1, message(5, 2_000))
    assert taken(inbox, 1) == [5], "what comes again finds room"


def test_partition_with_nothing_unfinished_always_has_room() -> None:
    """However large a message is, and whatever other partitions hold: none stands still for good."""
    inbox = Inbox(max_bytes=10_000)
    for partition in range(5):
        inbox.add(partition, message(partition, 50_000))
    assert [taken(inbox, partition) for partition in range(5)] == [[0], [1], [2], [3], [4]]
    assert inbox.take_put_off() == []
