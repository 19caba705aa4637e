"""Which browser requests are refused: those of pages of other sites, and those with a foreign `Host`."""

from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address

SAFE_METHODS = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True)
class RequestSource:
    """The headers `Host`, `Origin`, `Sec-Fetch-Site`, `-Mode` and `-Dest`; None for a missing one.

    Browsers send `Origin` with every POST, and the Sec-Fetch headers only over https and to this machine.
    """

    host: str | None = None
    origin: str | None = None
    site: str | None = None
    mode: str | None = None
    destination: str | None = None

    @property
    def is_cross_site(self) -> bool:
        """Tell whether a page of another origin sent it."""
        if self.origin is not None and _authority(self.origin) != (self.host or "").lower():
            return True
        return self.site in ("cross-site", "same-site")

    @property
    def is_navigation(self) -> bool:
        """Tell whether a user followed a link; the page with the link cannot read the answer."""
        return self.origin is None and self.mode == "navigate" and self.destination == "document"


@dataclass(frozen=True, slots=True)
class Browsers:
    """Which browser requests are let in.

    Attributes:
        is_checked: whether to refuse requests of other sites' pages; not needed with access tokens, which they lack.
        hosts: names of the service besides `localhost` and the loopback addresses, in lower case.
        origins: origins of other pages that may use the service, such as `https://fleet.example`.

    """

    is_checked: bool = True
    hosts: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()

    def allows_origin(self, source: RequestSource) -> bool:
        """Tell whether a request comes from a page of an allowed origin."""
        return source.origin in self.origins

    def refusal(self, method: str, source: RequestSource) -> str | None:
        """Return why a request is refused, or None."""
        if not self.is_checked:
            return None
        if not self._is_ours(source.host):
            return "The service has no such Host name. It is localhost; POWER_HOSTS can add others."
        if self.allows_origin(source) or not source.is_cross_site:
            return None
        if method in SAFE_METHODS and source.is_navigation:
            return None
        return "This request comes from a page of another site. POWER_ALLOWED_ORIGINS can allow its origin."

    def _is_ours(self, host: str | None) -> bool:
        if host is None:  # allowed in HTTP/1.0; browsers always send it
            return True
        name = _name(host)
        return name in self.hosts or is_loopback(name)


def _authority(origin: str) -> str:
    return origin.lower().partition("://")[2]


@lru_cache(maxsize=64)
def _name(host: str) -> str:
    """Return the name in a `Host` header, without the port and a final dot."""
    name, colon, port = host.lower().rpartition(":")
    return (name if colon and port.isdigit() else host.lower()).removesuffix(".")


@lru_cache(maxsize=64)
def is_loopback(name: str) -> bool:
    """Tell whether a host name or address is always this machine; brackets around an address do not matter."""
    try:
        return name == "localhost" or ip_address(name.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:  # a name, which may resolve to any address
        return False
