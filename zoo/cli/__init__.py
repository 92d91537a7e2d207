"""The `zoo` command: one thin module a group of commands, over functions that scripts can call. Heavy imports wait."""

from zoo.cli.main import app, main

__all__ = ["app", "main"]
