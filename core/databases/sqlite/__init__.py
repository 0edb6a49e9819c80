"""Django's SQLite engine, with one addition."""
