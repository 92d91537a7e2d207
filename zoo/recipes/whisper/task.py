"""Transcription as a training task: cross-entropy of the next token, auxiliary losses, or distillation.

Legend: B batch, T positions of 20 ms, D width, U tokens, N tokens with a loss, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.benchmarks.evaluated import languages_of
from zoo.benchmarks.wer import error_rates
from zoo.models.whisper.decoder import AudioStates, Decoder
from zoo.models.whisper.decoding import DecodingOptions, DecodingRequest, decode
from zoo.models.whisper.model import Whisper
from zoo.nn.eval_mode import eval_mode
from zoo.nn.masking import has_padding, lengths_to_mask, select_frames
from zoo.recipes.shapes import lengthen
from zoo.recipes.whisper.config import DistilConfig, WhisperTuneConfig
from zoo.recipes.whisper.data import IGNORED, SpeechBatch
from zoo.recipes.whisper.lora import without_lora
from zoo.train import Output, TrainingTask, processes

GUIDE_WIDTH = 0.2  # of the window: width of the diagonal band without a penalty
BLANK = 256  # of CTC, after the 256 bytes


class Transcribe(TrainingTask):
    """loss = -log p(text | audio, context), summed over all tokens except the context."""

    monitor = "wer"

    def __init__(
        self,
        model: Whisper,
        tune: WhisperTuneConfig,
        *,
        wer_normalizer: str = "basic",
        samples: int = 5,
        with_timestamps: bool = False,
        teacher: Decoder | None = None,
        distil: DistilConfig | None = None,
    ) -> None:
        """wer_normalizer, with_timestamps: of validation; samples: transcripts that validation prints; teacher: a
        decoder that uses the model's encoder, which must then be frozen.
        """
        super().__init__()
        self.model, self.tune, self.wer_normalizer, self.samples = model, tune, wer_normalizer, samples
        self.greedy = DecodingOptions(temperatures=(0.0,), timestamps=with_timestamps)
        self.teacher, self.distil = teacher, distil or DistilConfig()
        assert model.tokenizer is not None
        self.text_tokens = model.tokenizer.eot  # ids below are text
        self.ctc = nn.Linear(model.dim, BLANK + 1) if tune.ctc else None

    def forward(self, batch: SpeechBatch) -> Output:
        states = self.encode(batch)
        counted = batch.targets != IGNORED  # (B, U)
        targets = batch.targets[counted].to(states.x.device, non_blocking=True)  # (N,)
        logits, scores = _logits(self.model.decoder, batch.tokens, states, counted)  # (N, V), (B, H, U, T)
        loss = F.cross_entropy(logits, targets, reduction="sum")
        count = counted.sum()
        logs = {
            "accuracy": ((logits.detach().argmax(1) == targets).sum(), count),
            "cross_entropy": (loss.detach(), count),
        }
        if self.teacher is not None:
            with torch.no_grad():
                teacher_logits, _ = _logits(self.teacher, batch.tokens, states, counted)
            divergence = divergence_from(teacher_logits, logits, self.distil.temperature)
            logs["kl"] = (divergence.detach(), count)
            loss = self.distil.pseudo * loss + self.distil.kl * divergence
        if self.training and not 0 < self.tune.aux_loss_steps <= self.step:
            if self.ctc is not None:
                ctc = self.ctc_loss(self.ctc(states.x), states.lengths, batch)
                logs["ctc"] = (ctc.detach(), batch.ctc_lengths.sum())
                loss = loss + self.tune.ctc * ctc
            if self.tune.guided_attention_weight and scores.numel():
                guided_attention = self.guided_attention_loss(scores, batch)
                logs["guided_attention"] = (guided_attention.detach(), count)
                loss = loss + self.tune.guided_attention_weight * guided_attention
        return Output(loss, count, logs)

    def encode(self, batch: SpeechBatch) -> AudioStates:
        """The encoder's last layer, without gradients if all of the encoder is frozen."""
        mask = None
        size = batch.mel.shape[1] // 2
        if has_padding(batch.positions, size):
            mask = lengths_to_mask(batch.positions, size, batch.mel.device)  # (B, T)
        encoder = self.model.encoder
        trainable = torch.is_grad_enabled() and any(p.requires_grad for p in encoder.parameters())
        with torch.set_grad_enabled(trainable):
            x = encoder(batch.mel, mask, [self.model.num_layers])[0]  # (B, T, D)
        return AudioStates(x, batch.positions)

    def ctc_loss(self, logits: Tensor, lengths: Tensor, batch: SpeechBatch) -> Tensor:
        """CTC loss of the bytes of the text, summed. logits (B, T, BLANK + 1), lengths (B,)."""
        return F.ctc_loss(
            logits.float().log_softmax(-1).transpose(0, 1),
            batch.ctc_targets.to(logits.device, non_blocking=True),
            lengths,
            batch.ctc_lengths,
            blank=BLANK,
            reduction="sum",
            zero_infinity=True,
        )

    def guided_attention_loss(self, scores: Tensor, batch: SpeechBatch) -> Tensor:
        """Guided attention (Tachibana et al. 2018, arXiv 1710.08969): attention off the diagonal.

        scores (B, H, U, T): of cross-attention before the softmax. The loss is summed over text tokens.
        """
        is_text = (batch.targets != IGNORED) & (batch.targets < self.text_tokens)  # (B, U)
        clip_positions = (batch.lengths / self.model.hop)[:, None]  # (B, 1)
        expected = (is_text.cumsum(1) - 0.5) / is_text.sum(1, keepdim=True).clamp(min=1) * clip_positions  # (B, U)
        times = torch.arange(scores.shape[-1])
        distance = (times - expected[..., None]) / (GUIDE_WIDTH * clip_positions[..., None])  # (B, U, T)
        penalty = (1 - torch.exp(-0.5 * distance.square())).to(scores.device, non_blocking=True)
        attention = scores.float().softmax(-1).mean(1)  # (B, U, T)
        return select_frames((attention * penalty).sum(-1), is_text).sum()

    def validate(self, batches: Iterable[SpeechBatch]) -> dict[str, float]:
        """Mean losses, and WER and CER of greedy transcripts. Some transcripts are printed."""
        transcripts: list[tuple[str, str]] = []  # (reference, hypothesis)
        metrics = super().validate(self._transcribed(batch, transcripts) for batch in batches)
        pairs = sorted(pair for part in processes.gather(transcripts) for pair in part)
        references, hypotheses = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        for reference, hypothesis in pairs[:: -(-len(pairs) // max(1, self.samples))] if self.samples else ():
            self.say(f"      {reference!r} -> {hypothesis!r}")
        rates = error_rates(references, hypotheses, self.wer_normalizer)
        return metrics | {"wer": rates.wer, "cer": rates.cer}

    def _transcribed(self, batch: SpeechBatch, transcripts: list[tuple[str, str]]) -> SpeechBatch:
        """The batch; its references and hypotheses are appended to `transcripts`."""
        requests = [DecodingRequest(language) for language in languages_of(batch.entries, self.model)]
        results = decode(self.model, self.encode(batch), requests, self.greedy)
        for entry, result in zip(batch.entries, results, strict=True):
            transcripts.append((entry.text or "", result.text))
        return batch

    def export(self, directory: Path) -> None:
        with eval_mode(self.model):
            without_lora(self.model).save(directory)


def divergence_from(teacher: Tensor, logits: Tensor, temperature: float = 1.0) -> Tensor:
    """KL(softmax(teacher / t) || softmax(logits / t)) t^2, summed. teacher, logits (N, V)."""
    student_log_probs, teacher_log_probs = ((x / temperature).log_softmax(-1) for x in (logits, teacher))
    return F.kl_div(student_log_probs, teacher_log_probs, reduction="sum", log_target=True) * temperature**2


def _logits(decoder: Decoder, tokens: Tensor, states: AudioStates, counted: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (N, V) float32 after tokens (B, U) where counted (B, U) is True, and scores of Decoder.forward_text.

    counted is on the CPU.
    """
    hidden, scores = decoder.forward_text(tokens, states)
    hidden = select_frames(hidden, counted)  # (N, D)
    return F.linear(lengthen(hidden), decoder.tokens.weight)[: len(hidden)].float(), scores
