"""CTC fine-tuning of a HuBERT (Baevski et al. 2020, arXiv 2006.11477, appendix B; Hsu et al. 2021, section IV-B).

First only the head is trained, on the frames of the frozen encoder. Then the transformer is trained too. The front end
stays frozen.

Legend: B batch, T frames, V symbols.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import jiwer
import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.encoder import Frames
from zoo.models.ctc import Alphabet, collapse, greedy
from zoo.models.hubert.model import HuBERT
from zoo.nn.eval_mode import eval_mode
from zoo.recipes.hubert.ctc_config import CtcTuneConfig
from zoo.recipes.hubert.ctc_data import TextBatch
from zoo.train import Output, TrainingTask, processes

COLLAPSED = (0.98, 0.9)  # shares of blank frames and of empty transcripts above which the model predicts nothing


class CtcTask(TrainingTask):
    """loss = -log p(labels | frames), summed; its mean is over labels, as published.

    A clip with fewer frames than its labels need has no loss and does not count. This occurs only in the dev set.
    """

    monitor = "wer"

    def __init__(self, model: HuBERT, tune: CtcTuneConfig, samples: int = 5) -> None:
        super().__init__()
        self.model, self.tune, self.samples = model, tune, samples
        self.alphabet = Alphabet(model.config.vocabulary)
        model.frontend.requires_grad_(tune.train_frontend)

    def forward(self, batch: TextBatch) -> Output:
        logits, lengths = self.logits(batch)
        log_probs = logits.float().log_softmax(-1)  # (B, T, V)
        loss = F.ctc_loss(
            log_probs.transpose(0, 1),
            batch.labels.to(log_probs.device, non_blocking=True),
            lengths,
            batch.label_lengths,
            blank=Alphabet.blank,
            reduction="sum",
            zero_infinity=True,
        )
        paths = greedy(log_probs.detach(), lengths)  # (B, T)
        padding = paths.numel() - lengths.sum()
        blanks = (paths == Alphabet.blank).sum() - padding
        fits = frames_needed(batch.labels, batch.label_lengths) <= lengths  # (B,)
        return Output(loss, (batch.label_lengths * fits).sum(), {"blank": (blanks, lengths.sum())})

    def logits(self, batch: TextBatch) -> tuple[Tensor, Tensor]:
        """CTC logits (B, T, V) and lengths (B,). In training, inputs are masked and frozen parts get no gradient."""
        if self.training and self.step < self.tune.freeze_steps:
            with eval_mode(self.model):
                frames = self._encode(batch, masked=True)
        else:
            frames = self._encode(batch, masked=self.training)
        assert self.model.ctc is not None
        return self.model.ctc(frames.x), frames.lengths

    def _encode(self, batch: TextBatch, masked: bool) -> Frames:
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.tune.train_frontend):
            features = self.model.frontend(batch.waves, batch.lengths)
        return self.model.contextualize(
            features,
            batch.lengths,
            masked=batch.masked if masked else None,
            masked_channels=batch.masked_channels if masked else None,
        )

    def validate(self, batches: Iterable[TextBatch]) -> dict[str, float]:
        """Mean loss and share of blanks; WER and CER of the greedy transcripts. Some transcripts are shown."""
        own: list[tuple[str, str]] = []  # (reference, hypothesis) of this process
        metrics = super().validate(self._transcribed(batch, own) for batch in batches)
        pairs = sorted(pair for part in processes.gather(own) for pair in part)
        references, hypotheses = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        words = jiwer.process_words(references, hypotheses)
        characters = jiwer.process_characters(references, hypotheses)
        empty = sum(not text for text in hypotheses) / len(pairs)
        for reference, hypothesis in pairs[:: -(-len(pairs) // max(1, self.samples))] if self.samples else ():
            self.say(f"      {reference!r} -> {hypothesis!r}")
        if metrics["blank"] > COLLAPSED[0] and empty > COLLAPSED[1]:
            self.say(
                f"warning: {metrics['blank']:.1%} of the frames are blank and {empty:.0%} of the transcripts empty "
                f"after step {self.step}. This is normal in the first few hundred steps. If it stays so, "
                "raise train.learning_rate or train.steps, or lower tune.freeze_steps and the masks"
            )
        return metrics | {"wer": words.wer, "cer": characters.cer, "empty": empty}

    def _transcribed(self, batch: TextBatch, pairs: list[tuple[str, str]]) -> TextBatch:
        with self.autocast():
            paths = greedy(*self.logits(batch))
        hypotheses = (self.alphabet.decode(labels) for labels in collapse(paths.cpu()))
        pairs += [(entry.text or "", text) for entry, text in zip(batch.entries, hypotheses, strict=True)]
        return batch

    def export(self, directory: Path) -> None:
        self.model.save(directory)


def frames_needed(labels: Tensor, lengths: Tensor) -> Tensor:
    """(B, U), (B,) -> (B,): one frame for each label, and one for a blank between two equal labels."""
    indices = torch.arange(labels.shape[1], device=labels.device)[1:]
    return lengths + ((labels[:, 1:] == labels[:, :-1]) & (indices < lengths[:, None])).sum(1)
