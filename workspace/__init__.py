"""The roof: what ties the parts together. It imports everything and nothing imports it."""

__version__ = "0.2.0"
