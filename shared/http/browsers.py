"""Which requests are refused because a browser may send them for a page of another site."""

from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address

SAFE_METHODS = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True)
class Told:
    """What a request's headers tell of where it comes from; None where there is no such header.

    Attributes:
        host: `Host`.
        origin: `Origin`; browsers send it with every POST.
        site: `Sec-Fetch-Site`; browsers send these three to addresses that they trust: https, and this machine.
        mode: `Sec-Fetch-Mode`.
        destination: `Sec-Fetch-Dest`.

    """

    host: str | None = None
    origin: str | None = None
    site: str | None = None
    mode: str | None = None
    destination: str | None = None

    @property
    def is_from_elsewhere(self) -> bool:
        """Tell whether it comes from a browser that shows a page of another origin."""
        if self.origin is not None and _authority(self.origin) != (self.host or "").lower():
            return True
        return self.site in ("cross-site", "same-site")

    @property
    def opens_a_page(self) -> bool:
        """Tell whether a user follows a link: the page with the link does not see the answer."""
        return self.origin is None and self.mode == "navigate" and self.destination == "document"


@dataclass(frozen=True, slots=True)
class Browsers:
    """Who may use the service from a browser.

    Attributes:
        is_guarded: whether pages of other sites are kept out; with access tokens they are anyhow, for want of one.
        hosts: names of the service besides `localhost` and the loopback addresses, in lower case.
        origins: of pages that may use it, such as `https://fleet.example`.

    """

    is_guarded: bool = True
    hosts: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()

    def allows_origin(self, told: Told) -> bool:
        """Tell whether it comes from a page that may use the service."""
        return told.origin in self.origins

    def refusal(self, method: str, told: Told) -> str | None:
        """Tell why a request is refused; None if it is not."""
        if not self.is_guarded:
            return None
        if not self._is_ours(told.host):
            return "The service does not go by this Host. It is localhost; POWER_HOSTS can name others."
        if self.allows_origin(told) or not told.is_from_elsewhere:
            return None
        if method in SAFE_METHODS and told.opens_a_page:
            return None
        return "This comes from a page of another site. POWER_ALLOWED_ORIGINS can name those that may."

    def _is_ours(self, host: str | None) -> bool:
        if host is None:  # as HTTP/1.0 has it, and no browser
            return True
        name = _name(host)
        return name in self.hosts or is_loopback(name)


def _authority(origin: str) -> str:
    return origin.lower().partition("://")[2]


@lru_cache(maxsize=64)
def _name(host: str) -> str:
    """Take the port off a `Host`, and the dot that a full name may end with."""
    name, colon, port = host.lower().rpartition(":")
    return (name if colon and port.isdigit() else host.lower()).removesuffix(".")


@lru_cache(maxsize=64)
def is_loopback(name: str) -> bool:
    """Tell whether a host name or address is always this machine; brackets around an address do not matter."""
    try:
        return name == "localhost" or ip_address(name.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:  # a name, which may resolve to any address
        return False
