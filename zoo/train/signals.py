"""SIGTERM and SIGINT end a run after the current step, with a checkpoint. A second signal ends it at once."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class Signals:
    """`with Signals() as received`: received.name is None until a signal arrives; number is its number."""

    def __init__(self) -> None:
        self.name: str | None = None
        self.number: int = signal.SIGTERM
        self._handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            self._handlers = {s: signal.signal(s, self._receive) for s in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.name, self.number = signal.Signals(number).name, number
        self._restore()

    def _restore(self) -> None:
        for which, handler in self._handlers.items():
            signal.signal(which, handler)
