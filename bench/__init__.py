"""Measurements: `python -m bench.NAME [--check]`. Both sides are measured in one run; `--check` fails on a miss."""
