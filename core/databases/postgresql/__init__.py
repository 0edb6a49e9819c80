"""Django's PostgreSQL engine with a pool, and what a fail-over needs (docs/decisions/0022)."""
