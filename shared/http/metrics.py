"""GET /metrics, and what every HTTP service measures of its requests."""

from flask import Response, request
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder

from shared.http.app import Routes, since_arrival_s
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
"""Stands for routes and methods that we do not have: a stranger must not be able to make up label values."""
REQUEST_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


def new_registry() -> CollectorRegistry:
    """Make the registry of one process, which tells of its memory, processor time and open files already."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return registry


def routes(registry: CollectorRegistry) -> Routes:
    """Build GET /metrics over a registry; in its app every request is counted and timed from then on."""
    routes = Routes("metrics", __name__, needs="read")
    requests = Counter(
        "power_http_requests", "HTTP requests answered.", ["route", "method", "status"], registry=registry
    )
    seconds = Histogram(
        "power_http_request_seconds",
        "From a request's arrival at the service to its answer.",
        ["route", "method"],
        registry=registry,
        buckets=REQUEST_BUCKETS_S,
    )

    @routes.after_app_request
    def count(response: Response) -> Response:
        route = request.url_rule.rule if request.url_rule else OTHER
        method = request.method if request.method in METHODS else OTHER
        requests.labels(route, method, str(response.status_code)).inc()
        seconds.labels(route, method).observe(since_arrival_s())
        return response

    @routes.serves(METRICS)
    def metrics() -> Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return Response(encode(registry), content_type=content_type)

    return routes
