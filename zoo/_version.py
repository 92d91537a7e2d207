"""The version, which everything that writes files records."""

__version__ = "0.1.0"
