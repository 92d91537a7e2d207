"""Transcription as a task: cross-entropy of the next token, a CTC loss beside it, or distillation.

Legend: B batch, T positions of 20 ms, D width, U tokens, N tokens that count, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.benchmarks.wer import error_rates
from zoo.models.whisper.decoder import AudioStates, Decoder
from zoo.models.whisper.decoding import DecodingOptions, DecodingRequest, decode
from zoo.models.whisper.model import Whisper
from zoo.nn.eval_mode import eval_mode
from zoo.nn.masking import lengths_to_mask
from zoo.recipes.shapes import lengthen
from zoo.recipes.whisper.config import DistilConfig, WhisperTuneConfig
from zoo.recipes.whisper.data import IGNORED, SpeechBatch
from zoo.recipes.whisper.lora import without_lora
from zoo.recipes.whisper.model import languages_of
from zoo.train import Output, TrainingTask, processes

GUIDE_WIDTH = 0.2  # of the window: how far from the diagonal attention may stray freely
BLANK = 256  # of CTC, beside the 256 bytes


class Transcribe(TrainingTask):
    """loss = -log p(text | audio, context), summed over all tokens but the context."""

    monitor = "wer"
    taken: Tensor

    def __init__(
        self,
        model: Whisper,
        tune: WhisperTuneConfig,
        *,
        wer_normalizer: str = "basic",
        samples: int = 5,
        stamped: bool = False,
        teacher: Decoder | None = None,
        distil: DistilConfig | None = None,
    ) -> None:
        """wer_normalizer: that of validation; stamped: whether times are written in it; teacher: listens to the model's
        encoder, which must then be frozen.
        """
        super().__init__()
        self.model, self.tune, self.wer_normalizer, self.samples = model, tune, wer_normalizer, samples
        self.greedy = DecodingOptions(temperatures=(0.0,), timestamps=stamped)
        self.teacher, self.distil = teacher, distil or DistilConfig()
        assert model.tokenizer is not None
        self.text_tokens = model.tokenizer.eot  # ids below are text
        self.ctc = nn.Linear(model.dim, BLANK + 1) if tune.ctc else None
        self.register_buffer("taken", torch.zeros((), dtype=torch.int64))  # steps so far

    def accumulate(self, batches: Sequence[SpeechBatch], backward: Callable[[Output], None]) -> None:
        super().accumulate(batches, backward)
        self.taken += 1

    def forward(self, batch: SpeechBatch) -> Output:
        states = self.listen(batch)
        counted = batch.targets != IGNORED  # (B, U)
        targets = batch.targets[counted]  # (N,)
        logits, scores = _logits(self.model.decoder, batch.tokens, states, counted)  # (N, V), (B, H, U, T)
        loss = F.cross_entropy(logits, targets, reduction="sum")
        count = counted.sum()
        logs = {
            "accuracy": ((logits.detach().argmax(1) == targets).sum(), count),
            "cross_entropy": (loss.detach(), count),
        }
        if self.teacher is not None:
            with torch.no_grad():
                wanted, _ = _logits(self.teacher, batch.tokens, states, counted)
            divergence = divergence_from(wanted, logits, self.distil.temperature)
            logs["kl"] = (divergence.detach(), count)
            loss = self.distil.pseudo * loss + self.distil.kl * divergence
        if self.training and not 0 < self.tune.help_steps <= int(self.taken):
            if self.ctc is not None:
                aligned = self.alignment_loss(self.ctc(states.x), states.lengths, batch)
                logs["ctc"] = (aligned.detach(), batch.spelled.sum())
                loss = loss + self.tune.ctc * aligned
            if self.tune.guide and scores.numel():
                astray = self.attention_astray(scores, batch)
                logs["astray"] = (astray.detach(), count)
                loss = loss + self.tune.guide * astray
        return Output(loss, count, logs)

    def listen(self, batch: SpeechBatch) -> AudioStates:
        """The encoder's last layer, without gradients where nothing of it learns."""
        size = batch.mel.shape[1] // 2
        mask = lengths_to_mask(batch.positions, size) if int(batch.positions.min()) < size else None  # (B, T)
        encoder = self.model.encoder
        learns = torch.is_grad_enabled() and any(p.requires_grad for p in encoder.parameters())
        with torch.set_grad_enabled(learns):
            x = encoder(batch.mel, mask, [self.model.num_layers])[0]  # (B, T, D)
        return AudioStates(x, batch.positions)

    def alignment_loss(self, logits: Tensor, lengths: Tensor, batch: SpeechBatch) -> Tensor:
        """CTC of the bytes of the text, summed: logits (B, T, BLANK + 1), lengths (B,)."""
        return F.ctc_loss(
            logits.float().log_softmax(-1).transpose(0, 1),
            batch.letters,
            lengths,
            batch.spelled,
            blank=BLANK,
            reduction="sum",
            zero_infinity=True,
        )

    def attention_astray(self, scores: Tensor, batch: SpeechBatch) -> Tensor:
        """Guided attention (Tachibana et al. 2018, arXiv 1710.08969): how much of each text token's attention lies
        off the diagonal, summed: scores (B, H, U, T).
        """
        said = (batch.targets != IGNORED) & (batch.targets < self.text_tokens)  # (B, U)
        spoken = (batch.lengths / self.model.hop)[:, None]  # (B, 1) positions
        place = (said.cumsum(1) - 0.5) / said.sum(1, keepdim=True).clamp(min=1) * spoken  # (B, U)
        times = torch.arange(scores.shape[-1], device=scores.device)
        off = (times - place[..., None]) / (GUIDE_WIDTH * spoken[..., None])  # (B, U, T)
        penalty = 1 - torch.exp(-0.5 * off.square())
        attention = scores.float().softmax(-1).mean(1)  # (B, U, T)
        return (attention * penalty).sum(-1)[said].sum()

    def validate(self, batches: Iterable[SpeechBatch]) -> dict[str, float]:
        """Mean losses; WER and CER of greedy transcripts, some of which are shown."""
        said: list[tuple[str, str]] = []
        metrics = super().validate(self._transcribed(batch, said) for batch in batches)
        pairs = sorted(pair for part in processes.gather(said) for pair in part)
        references, hypotheses = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        for reference, hypothesis in pairs[:: -(-len(pairs) // max(1, self.samples))] if self.samples else ():
            self.say(f"      {reference!r} -> {hypothesis!r}")
        rates = error_rates(references, hypotheses, self.wer_normalizer)
        return metrics | {"wer": rates.wer, "cer": rates.cer}

    def _transcribed(self, batch: SpeechBatch, said: list[tuple[str, str]]) -> SpeechBatch:
        requests = [DecodingRequest(language) for language in languages_of(batch.entries, self.model)]
        results = decode(self.model, self.listen(batch), requests, self.greedy)
        said += [(entry.text or "", result.text) for entry, result in zip(batch.entries, results, strict=True)]
        return batch

    def export(self, directory: Path) -> None:
        with eval_mode(self.model):
            without_lora(self.model).save(directory)


def divergence_from(wanted: Tensor, logits: Tensor, temperature: float = 1.0) -> Tensor:
    """KL(softmax(wanted / t) || softmax(logits / t)) t^2, summed: (N, V) each."""
    own, theirs = ((x / temperature).log_softmax(-1) for x in (logits, wanted))
    return F.kl_div(own, theirs, reduction="sum", log_target=True) * temperature**2


def _logits(decoder: Decoder, tokens: Tensor, states: AudioStates, counted: Tensor) -> tuple[Tensor, Tensor]:
    """After the tokens (B, U) where counted (B, U) is True: (N, V) float32; and scores as Decoder.teach gives them."""
    hidden, scores = decoder.teach(tokens, states)
    hidden = hidden[counted]  # (N, D)
    return F.linear(lengthen(hidden), decoder.tokens.weight)[: len(hidden)].float(), scores
