"""Measurements: `python -m bench.NAME [--check]`. Both sides are measured in turn in one run; `--check` fails on a goal."""
