"""GET /metrics, and the request metrics of every HTTP service."""

import time

from flask import Response, g, request
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder

from shared.http.app import Routes
from shared.http.openapi import Answer, Operation

METRICS = Operation(
    path="/metrics",
    name="metrics",
    summary="Measurements for Prometheus",
    answers={
        200: Answer("In the format that `Accept` asks for.", {"text/plain": {}, "application/openmetrics-text": {}})
    },
)
OPERATIONS = (METRICS,)
METHODS = {"GET", "HEAD", "POST", "OPTIONS"}
OTHER = "other"
"""The label of unknown routes and methods, so that clients cannot create label values."""
REQUEST_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


def new_registry() -> CollectorRegistry:
    """Return a registry with the metrics of this process: memory, CPU time and open files."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return registry


def routes(registry: CollectorRegistry) -> Routes:
    """Return GET /metrics for a registry; the app that gets the routes counts and times every request."""
    routes = Routes("metrics", __name__, needs="read")
    requests = Counter(
        "power_http_requests", "HTTP requests answered.", ["route", "method", "status"], registry=registry
    )
    seconds = Histogram(
        "power_http_request_seconds",
        "Seconds from the arrival of a request to its answer.",
        ["route", "method"],
        registry=registry,
        buckets=REQUEST_BUCKETS_S,
    )

    @routes.before_app_request
    def arrive() -> None:
        g.arrived_s = time.perf_counter()

    @routes.after_app_request
    def count(response: Response) -> Response:
        route = request.url_rule.rule if request.url_rule else OTHER
        method = request.method if request.method in METHODS else OTHER
        requests.labels(route, method, str(response.status_code)).inc()
        seconds.labels(route, method).observe(time.perf_counter() - g.arrived_s)
        return response

    @routes.serves(METRICS, is_exact=True)
    def metrics() -> Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return Response(encode(registry), content_type=content_type)

    return routes
