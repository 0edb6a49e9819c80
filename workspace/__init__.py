"""The project: settings, URLs and server. It imports all other packages, and none of them imports it."""

__version__ = "0.2.0"
