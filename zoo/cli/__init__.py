"""The `zoo` command. Each module has a group of commands that call library functions. Heavy imports are inside them."""

from zoo.cli.main import app, main

__all__ = ["app", "main"]
