"""`/metrics` for Prometheus: the counters of all worker processes, and gauges read from the database."""

import os
from collections.abc import Iterator

from django.conf import settings
from django.db import DatabaseError
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector

from phones.services.metrics import gauges


def metrics(request: HttpRequest) -> HttpResponse:
    """The metrics, for clients that send METRICS_TOKEN. If it is not set, the page does not exist."""
    if not settings.METRICS_TOKEN:
        raise Http404
    if not constant_time_compare(request.headers.get("Authorization", ""), f"Bearer {settings.METRICS_TOKEN}"):
        return HttpResponse(status=401, headers={"WWW-Authenticate": "Bearer"})
    text = generate_latest(counters()) + generate_latest(database())
    return HttpResponse(text, content_type=CONTENT_TYPE_LATEST)


def counters() -> CollectorRegistry:
    """The counters of this process, or of all workers if manage.py has set PROMETHEUS_MULTIPROC_DIR."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    return registry


def database() -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(Database())
    return registry


class Database:
    """The database's gauges; if it does not answer, only `phones_database_up 0`."""

    def describe(self) -> list[GaugeMetricFamily]:
        return []  # otherwise registering would query the database once more

    def collect(self) -> Iterator[GaugeMetricFamily]:
        try:
            yield from gauges()
            is_up = True
        except DatabaseError:
            is_up = False
        yield GaugeMetricFamily("phones_database_up", "Whether the database answers.", is_up)
