"""Corruptions of the test clips: noise, a room, another speed, a codec. Their names:

    pink 10     pink noise at a signal-to-noise ratio of 10 dB over the whole clip; white 10 likewise
    room 0.6    reverberation that falls by 60 dB in 0.6 s, as loud as the direct sound: noise that decays exponentially
                (Polack's model)
    speed 0.9   played at 0.9 times the speed: slower, with a lower pitch
    opus 16     through Opus at 16 kbit/s
    telephone   8 kHz, 300 to 3400 Hz, mu-law of 8 bits (as G.711)

This module parses the names. zoo.benchmarks.corruptions changes the audio.
"""

from __future__ import annotations

from dataclasses import dataclass

from zoo.errors import ConfigError

KINDS: dict[str, tuple[float, float]] = {
    "pink": (-20, 60),
    "white": (-20, 60),
    "room": (0.05, 10),
    "speed": (0.5, 2),
    "opus": (6, 256),
    "telephone": (0, 0),
}
"""By name: the smallest and the largest amount. Both are equal if the condition takes no amount."""


@dataclass(frozen=True)
class Condition:
    """name: as in the module docstring. kind, amount: its parts."""

    name: str
    kind: str
    amount: float

    @property
    def stretch(self) -> float:
        """How much longer a clip becomes."""
        return 1 / self.amount if self.kind == "speed" else 1.0


def parse(name: str) -> Condition:
    """A condition by name. Raises ConfigError for unknown names and for amounts out of range."""
    kind, _, amount = name.partition(" ")
    if kind not in KINDS:
        raise ConfigError(f"condition {name!r}: choose one of {', '.join(KINDS)}, such as 'pink 10' or 'opus 16'")
    low, high = KINDS[kind]
    if low == high:
        if amount:
            raise ConfigError(f"condition {name!r}: {kind} takes no number")
        return Condition(name, kind, 0.0)
    try:
        value = float(amount)
    except ValueError:
        raise ConfigError(f"condition {name!r}: {kind} needs a number") from None
    if not low <= value <= high:
        raise ConfigError(f"condition {name!r}: {kind} takes {low:g} to {high:g}")
    return Condition(name, kind, value)
