"""What tests share: nothing imports from a test module."""

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
EVERY_CASE = "EVERY_CASE" in os.environ
SAMPLES = PROJECT / "tests" / "samples"
