"""CTC fine-tuning of a HuBERT (Baevski et al. 2020, arXiv 2006.11477, appendix B; Hsu et al. 2021, section IV-B).

First the head alone learns, on frames of the frozen encoder; then the transformer with it. The front end stays frozen.

Legend: B batch, T frames, V symbols.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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

COLLAPSED = (0.98, 0.9)  # more than this share of blank frames and of empty transcripts: nothing is being said


class CtcTask(TrainingTask):
    """loss = -log p(labels | frames), summed; its mean is over labels, as published.

    Clips with fewer frames than their labels need (of the dev set: none is trained on) have no loss, and do not count.
    """

    monitor = "wer"
    taken: Tensor

    def __init__(self, model: HuBERT, tune: CtcTuneConfig, samples: int = 5) -> None:
        super().__init__()
        self.model, self.tune, self.samples = model, tune, samples
        self.alphabet = Alphabet(model.config.vocabulary)
        self.register_buffer("taken", torch.zeros((), dtype=torch.int64))  # steps so far
        model.frontend.requires_grad_(tune.train_frontend)

    def accumulate(self, batches: Sequence[TextBatch], backward: Callable[[Output], None]) -> None:
        super().accumulate(batches, backward)
        self.taken += 1

    def forward(self, batch: TextBatch) -> Output:
        logits, lengths = self.logits(batch)
        log_probs = logits.float().log_softmax(-1)  # (B, T, V)
        loss = F.ctc_loss(
            log_probs.transpose(0, 1),
            batch.labels,
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
        """(B, T, V) and lengths (B,); in training with masks, and without gradients for what is frozen."""
        if self.training and int(self.taken) < self.tune.freeze_steps:
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
        """Mean loss and share of blanks; WER and CER of greedy transcripts, some of which are shown."""
        said: list[tuple[str, str]] = []
        metrics = super().validate(self._transcribed(batch, said) for batch in batches)
        pairs = sorted(pair for part in processes.gather(said) for pair in part)
        references, hypotheses = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        words = jiwer.process_words(references, hypotheses)
        letters = jiwer.process_characters(references, hypotheses)
        empty = sum(not text for text in hypotheses) / len(pairs)
        for reference, hypothesis in pairs[:: -(-len(pairs) // max(1, self.samples))] if self.samples else ():
            self.say(f"      {reference!r} -> {hypothesis!r}")
        if metrics["blank"] > COLLAPSED[0] and empty > COLLAPSED[1]:
            self.say(
                f"warning: {metrics['blank']:.1%} of the frames are blank and {empty:.0%} of the transcripts empty "
                f"after step {int(self.taken)}. The first few hundred steps are like that; if it stays so, raise "
                "train.learning_rate or train.steps, or lower tune.freeze_steps and the masks"
            )
        return metrics | {"wer": words.wer, "cer": letters.cer, "empty": empty}

    def _transcribed(self, batch: TextBatch, said: list[tuple[str, str]]) -> TextBatch:
        with self.autocast():
            paths = greedy(*self.logits(batch))
        texts = (self.alphabet.decode(labels) for labels in collapse(paths.cpu()))
        said += [(entry.text or "", text) for entry, text in zip(batch.entries, texts, strict=True)]
        return batch

    def export(self, directory: Path) -> None:
        self.model.save(directory)


def frames_needed(labels: Tensor, lengths: Tensor) -> Tensor:
    """(B, U), (B,) -> (B,): one for each label, and a blank between equal neighbors."""
    places = torch.arange(labels.shape[1], device=labels.device)[1:]
    return lengths + ((labels[:, 1:] == labels[:, :-1]) & (places < lengths[:, None])).sum(1)
