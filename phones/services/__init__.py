"""The roads: what a door may ask for. Each door reads its input, calls one of these and shows the result."""

from phones.services.adding import add_phone
from phones.services.reconciling import reconcile

__all__ = ["add_phone", "reconcile"]
