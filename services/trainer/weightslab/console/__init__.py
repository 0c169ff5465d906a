"""The developer console of a run: lines of text over TCP that act as the page does."""

from weightslab.console.thread import start_console

__all__ = ["start_console"]
