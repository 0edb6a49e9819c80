"""Mutation testing: do the tests notice a small random change to the product?

    python -m tests.mutants --seed 17 --count 60

1. `draw` picks mutations of cosmic-ray at random; the same seed on the same code picks the same ones.
2. `reach` runs the tests once under coverage and learns which tests execute which line.
3. `trial` applies one mutation at a time to a copy of the project and runs the tests that execute its lines.

A mutation that changes nothing a test could observe goes into `equivalent.txt`, with the reason.
"""
