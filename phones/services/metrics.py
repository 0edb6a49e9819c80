"""What is measured of numbers and calls (workspace/metrics.py shows it). No label holds what tells customers apart."""

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

ADDS = Counter("phones_adds", "Adds by carrier; the outcome is added or the code of the error.", ["carrier", "outcome"])
WEBHOOKS = Counter(
    "phones_webhooks", "Webhooks by carrier: kept, refused, or failed and asked for again.", ["carrier", "verdict"]
)


@contextmanager
def add_counted(integration: str) -> Iterator[None]:
    """Count the add that is made in this block."""
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
    """Count a webhook. `integration` is what the address says, which anybody can make up."""
    WEBHOOKS.labels(integration if integration in PROVIDERS else "unknown", verdict).inc()


def gauges() -> Iterator[GaugeMetricFamily]:
    """What the database says, by a few reads that an index answers however many rows there are.

    Raises django.db.DatabaseError.
    """
    now = timezone.now()
    numbers = GaugeMetricFamily(
        "phones_numbers", "Numbers by carrier and health, as reconcile counted them.", labels=["carrier", "health"]
    )
    for key, count in newest_figures("numbers").items():
        numbers.add_metric(key.split(), count)
    yield numbers

    unfinished = GaugeMetricFamily(
        "phones_unfinished_operations", "Adds and removals under way, or left for reconcile.", labels=["state"]
    )
    states = PhoneNumber.objects.filter(state__in=PhoneNumber.UNFINISHED).values_list("state")
    counts = dict.fromkeys(PhoneNumber.UNFINISHED, 0) | dict(states.annotate(count=Count("pk")))
    for state, count in counts.items():
        unfinished.add_metric([state], count)
    yield unfinished

    oldest = CallEvent.objects.filter(merged_at=None).order_by("received_at").only("received_at").first()
    lag_s = (now - oldest.received_at).total_seconds() if oldest else 0
    yield GaugeMetricFamily(
        "phones_event_lag_seconds", "Age of the oldest event that is not in the log of calls.", lag_s
    )

    counted = counted_at()
    if counted:
        yield GaugeMetricFamily(
            "phones_reconciled_seconds", "Since reconcile ran to its end.", (now - counted).total_seconds()
        )
