"""Bare HTTP requests to the databases that are compared."""

import json
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen


def post(url: str, body: bytes, **parameters: str) -> None:
    """Send a body."""
    urlopen(f"{url}?{urlencode(parameters)}", body, timeout=60).close()


def ask(url: str, **parameters: str) -> Any:
    """Return the JSON that a form is answered with."""
    with urlopen(url, urlencode(parameters).encode(), timeout=60) as answer:
        return json.load(answer)
