"""`/metrics`: what Prometheus asks for. Counters of all worker processes together, and what the database says now."""

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
    """The page, for whoever has METRICS_TOKEN. Without that setting there is none."""
    if not settings.METRICS_TOKEN:
        raise Http404
    if not constant_time_compare(request.headers.get("Authorization", ""), f"Bearer {settings.METRICS_TOKEN}"):
        return HttpResponse(status=401, headers={"WWW-Authenticate": "Bearer"})
    text = generate_latest(counters()) + generate_latest(database())
    return HttpResponse(text, content_type=CONTENT_TYPE_LATEST)


def counters() -> CollectorRegistry:
    """Those of this process, or of all workers where manage.py has given them a place."""
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
    """Its gauges; when it cannot be asked, that it is down and nothing else."""

    def describe(self) -> list[GaugeMetricFamily]:
        return []  # or to register it would ask the database once more

    def collect(self) -> Iterator[GaugeMetricFamily]:
        try:
            yield from gauges()
            is_up = True
        except DatabaseError:
            is_up = False
        yield GaugeMetricFamily("phones_database_up", "Whether the database answers.", is_up)
