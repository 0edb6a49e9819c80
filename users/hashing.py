"""Hashing passwords: a few at a time, and after whatever answers calls."""

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from django.contrib.auth.hashers import PBKDF2PasswordHasher

# Each takes a core for half a second. Those of a process shall not take all cores from the webhooks.
AT_ONCE = 2
# Of 40, as `nice` counts: a tenth of the time that the other threads get if both want it.
NICENESS = 10


def step_back() -> None:
    if sys.platform == "linux":  # where threads have priorities of their own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), min(19, os.nice(0) + NICENESS))


pool = ThreadPoolExecutor(AT_ONCE, "hashing", initializer=step_back)


class Hasher(PBKDF2PasswordHasher):
    """Django's own, in threads that come last."""

    def encode(self, password: str, salt: str, iterations: int | None = None) -> str:
        return pool.submit(super().encode, password, salt, iterations).result()
