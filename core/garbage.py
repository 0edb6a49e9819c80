"""Garbage collection in a process whose threads share an SQLite database."""

import gc
import threading
import time

EVERY_S = 1.0


def collect_in_own_thread() -> None:
    """Collect garbage in a thread that holds no database lock, from now on.

    Garbage may include an SQLite cursor of another thread's connection. Freeing it blocks for as long as that thread
    waits for the write lock. If the freeing thread holds the write lock, both wait until one of them times out.
    """
    gc.disable()
    threading.Thread(target=collect, name="garbage", daemon=True).start()


def collect() -> None:
    while True:
        time.sleep(EVERY_S)
        gc.collect()
