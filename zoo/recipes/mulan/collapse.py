"""Signs that contrastive training does not learn, told while it can still be stopped.

A public implementation of MuLan has logs of days at the value that its loss takes when all similarities are equal; the
curves look calm, and nothing is learned. So the loss is held against its chance level all the time.

Legend: b pairs, D joint width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from zoo.errors import TrainingError
from zoo.nn.losses import Temperature
from zoo.recipes.mulan.config import CollapseConfig
from zoo.train.health import effective_rank

DECAY = 0.95  # of the running mean of the distance to chance
AT_BOUND = 1.01  # a temperature within this factor of a bound is at it

Say = Callable[[str], None]


class CollapseChecks(nn.Module):
    """State in buffers, so that a resumed run warns at the same steps.

    progress: running mean of (chance - loss) / chance; count: steps so far.
    """

    progress: Tensor
    count: Tensor

    def __init__(self, config: CollapseConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("progress", torch.zeros(1, dtype=torch.float64))
        self.register_buffer("count", torch.zeros(1, dtype=torch.int64))

    @property
    def steps(self) -> int:
        return int(self.count)

    def step(self, loss: float, chance: float, sample: Sequence[Tensor], say: Say) -> None:
        """Take note of a training step. sample: some embeddings of it, (b, D) of audio and of text.

        Raises TrainingError at chance, if so configured.
        """
        if chance > 0:  # a single pair has nothing to be told from: its loss is no sign of anything
            self.progress.lerp_(torch.full_like(self.progress, (chance - loss) / chance), 1 - DECAY)
        self.count += 1
        if not self._due() or float(self.progress) >= self.config.chance_margin:
            return
        message = (
            f"ALARM: after {self.steps} steps the loss is {loss:.4f}, at its chance level {chance:.4f}: nothing is "
            f"learned. {_cause(*sample)}"
        )
        if self.config.stop_at_chance:
            raise TrainingError(message)
        say(message)

    def validation(self, audio: Tensor, text: Tensor, temperature: Temperature, say: Say) -> dict[str, float]:
        """Figures of dev embeddings (b, D), and a warning for each that is out of bounds."""
        metrics: dict[str, float] = {}
        late = self.steps >= self.config.chance_steps  # fresh towers start out collapsed
        for name, x in (("audio", audio), ("text", text)):
            rank, cosine = effective_rank(x), mean_cosine(x)
            metrics |= {f"{name}_rank": rank, f"{name}_cosine": cosine}
            if late and (rank < self.config.least_rank or cosine > self.config.most_cosine):
                say(
                    f"ALARM: {name} embeddings have collapsed: effective rank {rank:.1f} of {x.shape[1]}, mean cosine "
                    f"of two of them {cosine:.3f}"
                )
        value = float(temperature().detach())
        if not temperature.minimum * AT_BOUND < value < 1 / AT_BOUND:
            bound = "lower" if value < 0.5 else "upper"
            say(
                f"ALARM: the temperature {value:.4g} has come to its {bound} bound; lower train.learning_rate, and see "
                "whether many clips share one text"
            )
        return metrics

    def _due(self) -> bool:
        """At chance_steps, and at 2, 4, 8 ... times as many."""
        times, rest = divmod(self.steps, self.config.chance_steps)
        return rest == 0 and times & (times - 1) == 0


def mean_cosine(x: Tensor) -> float:
    """Of all pairs of different rows of x (b, D), of unit length: (|sum|^2 - b) / b(b - 1)."""
    count = len(x)
    return (float(x.double().sum(0).square().sum()) - count) / max(1, count * (count - 1))


def _cause(audio: Tensor, text: Tensor) -> str:
    """What to look at first."""
    for name, x, advice in (
        ("clips", audio, "look at the spectrograms: is the audio silent, is the front end right?"),
        ("texts", text, "look at data.text: is it the same text everywhere, does the tokenizer know its words?"),
    ):
        if mean_cosine(x.detach()) > 0.99:
            return f"All {name} have the same embedding; {advice}"
    return "Embeddings differ, so texts may not belong to their clips; or change train.learning_rate or warmup"
