"""A name server for tests: names with the addresses that a test gives them, as an engine's containers have them."""

import socket
import struct
import threading
from collections.abc import Mapping, Sequence

from tests.support.servers import HOST

QUERY_BYTES = 512
HEADER_BYTES = 12
NO_SUCH_NAME = 3


class NameServer:
    """Answers questions for A records over UDP."""

    def __init__(self, names: Mapping[str, Sequence[str]]) -> None:
        """Listen; `names` may be changed later."""
        self.names = dict(names)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((HOST, 0))
        self.address = f"{HOST}:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        self._socket.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            query, client = self._socket.recvfrom(QUERY_BYTES)
            if not query:
                return
            self._socket.sendto(self._answer(query), client)

    def _answer(self, query: bytes) -> bytes:
        """Return the answer (RFC 1035): the question again, then a record for each address."""
        labels, end = [], HEADER_BYTES
        while length := query[end]:
            labels.append(query[end + 1 : end + 1 + length].decode())
            end += 1 + length
        question = query[HEADER_BYTES : end + 5]
        addresses = self.names.get(".".join(labels), ())
        flags = 0x8180 | (0 if addresses else NO_SUCH_NAME)
        record = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 1, 4)  # the name of the question, A, IN, 1 s, 4 bytes
        records = b"".join(record + socket.inet_aton(each) for each in addresses)
        return query[:2] + struct.pack(">HHHHH", flags, 1, len(addresses), 0, 0) + question + records
