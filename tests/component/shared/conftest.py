"""Fixtures of the tests of what all services share."""

from collections.abc import Iterator
from contextlib import closing
from functools import partial

import pytest
from flask import Flask
from prometheus_client import CollectorRegistry

from ingest_api.http.routes import routes as ingest_routes
from ingest_api.metrics import IngestMetrics
from ingest_api.outbox.outbox import Outbox
from normalizer_worker.ledger.dead_letters import DeadLetters
from normalizer_worker.routes import routes as dead_letter_routes
from query_api.service import query_service
from shared.http import health, metrics
from shared.http.app import make_app
from shared.http.tokens import access
from shared.runtime.settings import QuerySettings
from tests.support.tokens import TOKENS


@pytest.fixture
def app(outbox: Outbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """Both services in one app that asks for tokens."""
    registry = CollectorRegistry()
    settings = QuerySettings.load({"POWER_DATA_DIR": str(tmp_path_factory.mktemp("store"))})
    with query_service(settings, registry) as queries, closing(DeadLetters(settings.data_dir)) as letters:
        yield make_app(
            metrics.routes(registry),
            health.routes(queries.checks),
            ingest_routes(outbox, IngestMetrics(registry)),
            *queries.routes,
            dead_letter_routes(letters),
            access=partial(access, TOKENS),
        )
