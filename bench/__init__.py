"""Benchmarks: `python -m bench.NAME [--check]`. A run measures both sides; `--check` fails if a goal is missed."""
