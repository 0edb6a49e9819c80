"""Django's engine for SQLite, with one addition."""
