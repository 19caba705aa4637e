"""GET /metrics, and what is counted of HTTP requests."""

import time
from collections.abc import Callable

from flask.testing import FlaskClient
from prometheus_client import CollectorRegistry

from shared.http import metrics
from shared.http.app import Routes, make_app
from shared.http.tokens import Access, access, anybody
from tests.support.metrics import samples
from tests.support.tokens import bearer, token

SLOW_S = 0.01


def client(let_in: Callable[[str | None], Access] = anybody) -> FlaskClient:
    routes = Routes("test", __name__, needs="read")
    routes.add_url_rule("/ships/<int:ship>", "ship", lambda ship: f"ship {ship}")
    routes.add_url_rule("/broken", "broken", lambda: str(1 // 0))
    return make_app(metrics.routes(CollectorRegistry()), routes, access=let_in).test_client()


def test_requests_are_counted_by_route_method_and_status() -> None:
    asking = client()
    for path in ("/ships/1", "/ships/2", "/broken"):
        asking.get(path)
    text = asking.get("/metrics").text
    assert samples(text, "power_http_requests_total") == {
        ("GET", "/ships/<int:ship>", "200"): 2,
        ("GET", "/broken", "500"): 1,
    }
    assert samples(text, "power_http_request_seconds_count") == {("GET", "/ships/<int:ship>"): 2, ("GET", "/broken"): 1}


def test_no_stranger_makes_up_a_label() -> None:
    asking = client()
    asking.get("/ships/x")
    asking.get("/wp-login.php")
    asking.open("/ships/1", method="DELETE")
    asking.open("/ships/1", method="MAKE-ME-A-LABEL")
    assert samples(asking.get("/metrics").text, "power_http_requests_total") == {
        ("GET", "other", "404"): 2,
        ("other", "other", "405"): 2,
    }


def test_who_is_refused_is_counted_and_timed_from_the_arrival() -> None:
    def slowly(authorization: str | None) -> Access:
        time.sleep(SLOW_S)
        return access((token("console", "read"), token("bridge", "ingest")), authorization)

    asking = client(slowly)
    asking.get("/ships/1")
    asking.get("/ships/1", headers=bearer("bridge"))
    asking.get("/nowhere")
    text = asking.get("/metrics", headers=bearer("console")).text
    assert samples(text, "power_http_requests_total") == {
        ("GET", "/ships/<int:ship>", "401"): 1,
        ("GET", "/ships/<int:ship>", "403"): 1,
        ("GET", "other", "401"): 1,
    }
    assert samples(text, "power_http_request_seconds_sum")["GET", "/ships/<int:ship>"] >= 2 * SLOW_S


def test_each_registry_counts_for_itself() -> None:
    first, second = client(), client()
    first.get("/ships/1")
    assert samples(second.get("/metrics").text, "power_http_requests_total") == {}


def test_the_format_is_the_one_that_is_asked_for() -> None:
    asking = client()
    assert asking.get("/metrics").content_type.startswith("text/plain; version=")
    named = asking.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert named.content_type.startswith("application/openmetrics-text")
    assert named.text.endswith("# EOF\n")


def test_a_process_tells_what_it_needs() -> None:
    """Where the system tells it: on Linux."""
    told = metrics.new_registry().get_sample_value("process_resident_memory_bytes")
    assert told is None or told > 0
