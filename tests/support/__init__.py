"""What tests share: nothing imports from a test module."""

from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
SAMPLES = PROJECT / "tests" / "samples"
