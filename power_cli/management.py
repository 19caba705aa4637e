"""Asks the management API of RabbitMQ."""

import json
import ssl
from typing import Any
from urllib.parse import quote

import urllib3

from shared.domain.errors import InvalidInput, InvalidSettings, Unavailable
from shared.runtime.management_url import Management

TIMEOUT_S = 30.0
_REFUSED = (401, 403)
_NOT_FOUND = 404
_FAILED = 500


class NotThere(InvalidInput):
    """What was asked for does not exist."""


class ManagementApi:
    """The API of one server, for one virtual host."""

    def __init__(self, account: Management) -> None:
        """Prepare; nothing is asked yet."""
        self._url = account.url
        self.vhost = quote(account.vhost, safe="")
        login = urllib3.make_headers(basic_auth=f"{account.username}:{account.password}")
        context = ssl.create_default_context(cafile=account.ca_file)
        self._http = urllib3.PoolManager(
            retries=False, timeout=urllib3.Timeout(TIMEOUT_S), headers=login, ssl_context=context
        )

    def get(self, path: str) -> Any:
        """Return an answer; `path` may have the place ``{vhost}``.

        Raises:
            Unavailable: the server does not answer.
            InvalidSettings: it refuses the login, or this user may not ask that.
            NotThere: there is no such thing.
            InvalidInput: it refuses the request for another reason.

        """
        return self._ask("GET", path)

    def put(self, path: str, body: object) -> None:
        """Make something, or change it; raises as `get`."""
        self._ask("PUT", path, body)

    def post(self, path: str, body: object) -> None:
        """Add something; raises as `get`."""
        self._ask("POST", path, body)

    def delete(self, path: str) -> None:
        """Remove something; raises as `get`."""
        self._ask("DELETE", path)

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        try:
            answer = self._http.request(method, f"{self._url}/api{path.format(vhost=self.vhost)}", json=body)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Unavailable(f"RabbitMQ's management API at {self._url} does not answer: {error}") from None
        said = _said(answer)
        if answer.status in _REFUSED:
            raise InvalidSettings(
                f"RabbitMQ's management API at {self._url} refuses the user: {said or answer.reason};"
                " check POWER_RABBITMQ_URL, whose user needs the tag administrator"
            )
        if answer.status == _NOT_FOUND:
            raise NotThere(f"RabbitMQ has no {path.format(vhost=self.vhost).strip('/')}")
        if answer.status >= _FAILED:
            raise Unavailable(f"RabbitMQ's management API at {self._url} fails: {said or answer.reason}")
        if answer.status >= 400:  # noqa: PLR2004  # all others that are no success
            raise InvalidInput(f"RabbitMQ refuses {method} {path.format(vhost=self.vhost)}: {said}")
        return json.loads(answer.data) if answer.data else None


def _said(answer: urllib3.BaseHTTPResponse) -> str:
    """Return the reason in an answer, if it has one."""
    try:
        members = json.loads(answer.data)
    except ValueError:
        return ""
    return str(members.get("reason", "")) if isinstance(members, dict) else ""
