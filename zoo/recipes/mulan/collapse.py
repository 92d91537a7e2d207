"""Checks that contrastive training learns, made early enough to stop the run.

If all embeddings collapse to one point, the loss stays at its chance level: the value for equal similarities. The curve
looks calm, and days of training can be lost. So the loss is compared with its chance level all the time.

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
AT_BOUND = 1.01  # a temperature within this factor of a bound counts as being at the bound

Say = Callable[[str], None]


class CollapseChecks(nn.Module):
    """Warns about a loss at chance and about collapse. Its buffer lets a resumed run warn at the same steps.

    progress: running mean of (chance - loss) / chance.
    """

    progress: Tensor

    def __init__(self, config: CollapseConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("progress", torch.zeros(1, dtype=torch.float64))

    def update(self, step: int, loss: Tensor, chance: float, sample: Sequence[Tensor], say: Say) -> None:
        """Take note of the loss () of a training step, and warn at some steps if it is at chance.

        sample: (b, D) audio and text embeddings. Raises TrainingError instead of warning if config.stop_at_chance.
        """
        if chance > 0:  # a single pair has no other pair to contrast with, so its loss means nothing
            self.progress.lerp_((chance - loss.to(self.progress)) / chance, 1 - DECAY)
        if not self._is_due(step) or float(self.progress) >= self.config.chance_margin:
            return
        message = (
            f"WARNING: after {step} steps the loss is {float(loss):.4f}, at its chance level {chance:.4f}: the model "
            f"does not learn. {_cause(*sample)}"
        )
        if self.config.stop_at_chance:
            raise TrainingError(message)
        say(message)

    def validation(
        self, step: int, audio: Tensor, text: Tensor, temperature: Temperature, say: Say
    ) -> dict[str, float]:
        """Effective rank and mean cosine of dev embeddings (b, D). Warns of collapse and a temperature at a bound."""
        metrics: dict[str, float] = {}
        check = step >= self.config.chance_steps  # fresh towers are collapsed at first
        for name, x in (("audio", audio), ("text", text)):
            rank, cosine = effective_rank(x), mean_cosine(x)
            metrics |= {f"{name}_rank": rank, f"{name}_cosine": cosine}
            if check and (rank < self.config.min_rank or cosine > self.config.max_cosine):
                say(
                    f"WARNING: {name} embeddings have collapsed: effective rank {rank:.1f} of {x.shape[1]}, mean "
                    f"cosine of two embeddings {cosine:.3f}; lower train.learning_rate"
                )
        value = float(temperature().detach())
        if not temperature.minimum * AT_BOUND < value < 1 / AT_BOUND:
            bound = "lower" if value < 0.5 else "upper"
            say(
                f"WARNING: the temperature {value:.4g} is at its {bound} bound; lower train.learning_rate, and check "
                "whether many clips share one text"
            )
        return metrics

    def _is_due(self, step: int) -> bool:
        """True at chance_steps, and at 2, 4, 8 ... times as many steps."""
        times, rest = divmod(step, self.config.chance_steps)
        return rest == 0 and times & (times - 1) == 0


def mean_cosine(x: Tensor) -> float:
    """Mean cosine over all pairs of different rows of x (b, D), which have unit length: (|sum|^2 - b) / b(b - 1)."""
    count = len(x)
    return (float(x.double().sum(0).square().sum()) - count) / max(1, count * (count - 1))


def _cause(audio: Tensor, text: Tensor) -> str:
    """Advice on the likely cause."""
    for name, x, advice in (
        ("clips", audio, "check the spectrograms: silent audio, or a wrong front end"),
        ("texts", text, "check data.text: the same text for all clips, or words that the tokenizer does not know"),
    ):
        if mean_cosine(x.detach()) > 0.99:
            return f"All {name} have the same embedding; {advice}"
    return "The embeddings differ: check whether texts belong to their clips, or change train.learning_rate or warmup"
