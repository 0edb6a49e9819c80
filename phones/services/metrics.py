"""Metrics of numbers and calls, served by workspace/metrics.py. No label identifies a customer."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db.models import Count
from django.utils import timezone
from prometheus_client import Counter
from prometheus_client.core import GaugeMetricFamily

from core.errors import Refusal
from integrations import PROVIDERS
from integrations.errors import IntegrationError
from phones.models import CallEvent, PhoneNumber
from phones.services.figures import counted_at, newest_figures

ADDS = Counter("phones_adds", "Adds by carrier; the outcome is added or the error code.", ["carrier", "outcome"])
WEBHOOKS = Counter(
    "phones_webhooks",
    "Webhooks by carrier: kept, refused, throttled, failed, or why no view saw it.",
    ["carrier", "verdict"],
)
# Zero at first, because Prometheus does not take the first value of a counter for an increase.
for _carrier in PROVIDERS:
    for _verdict in ("kept", "refused", "throttled", "failed", "body_too_large", "wrong_method", "unknown_address"):
        WEBHOOKS.labels(_carrier, _verdict)


@contextmanager
def add_counted(integration: str) -> Iterator[None]:
    """Count the add in this block, by its outcome."""
    outcome = "internal_error"
    try:
        yield
        outcome = "added"
    except (Refusal, IntegrationError) as refusal:
        outcome = refusal.code
        raise
    finally:
        ADDS.labels(integration, outcome).inc()


def count_webhook(integration: str, verdict: str) -> None:
    """Count a webhook. `integration` comes from the URL, so anybody can make it up."""
    WEBHOOKS.labels(integration if integration in PROVIDERS else "unknown", verdict).inc()


def gauges() -> Iterator[GaugeMetricFamily]:
    """The gauges, from a few queries that use an index, however many rows there are.

    Raises django.db.DatabaseError.
    """
    now = timezone.now()
    numbers = GaugeMetricFamily(
        "phones_numbers", "Numbers by carrier and health, as last counted by reconcile.", labels=["carrier", "health"]
    )
    for key, count in newest_figures("numbers").items():
        numbers.add_metric(key.split(), count)
    yield numbers

    unfinished = GaugeMetricFamily(
        "phones_unfinished_operations", "Adds and removals in progress or left for reconcile.", labels=["state"]
    )
    states = PhoneNumber.objects.filter(state__in=PhoneNumber.UNFINISHED).values_list("state")
    counts = dict.fromkeys(PhoneNumber.UNFINISHED, 0) | dict(states.annotate(count=Count("pk")))
    for state, count in counts.items():
        unfinished.add_metric([state], count)
    yield unfinished

    oldest = CallEvent.objects.filter(merged_at=None).order_by("merged_at", "received_at").only("received_at").first()
    lag_s = (now - oldest.received_at).total_seconds() if oldest else 0
    yield GaugeMetricFamily("phones_event_lag_seconds", "Age of the oldest event that is not in the call log.", lag_s)

    counted = counted_at()
    if counted:
        yield GaugeMetricFamily(
            "phones_reconciled_seconds",
            "Seconds since reconcile last completed a run.",
            (now - counted).total_seconds(),
        )
