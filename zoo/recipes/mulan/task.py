"""Contrast between music and text over large batches (Huang et al. 2022, arXiv 2208.12415, section 3).

The contrastive batch consists of all micro-batches of an optimizer step, of all processes. Gradient caching (Gao et al.
2021, arXiv 2101.06983) makes its size independent of memory:

    1. each micro-batch -> embeddings, without keeping activations
    2. all embeddings -> loss -> gradients of the embeddings
    3. each micro-batch again -> embeddings -> the gradients of step 2 flow into the towers

Both passes run the same operations on the same batch with the same seed. Dropout and SpecAugment are repeated, so the
gradients equal those of one large graph. Batch normalization (in the ResNet) uses the statistics of the micro-batch in
both passes, and updates its running averages once. So with a ResNet the size of the micro-batch matters, as it does
when several devices share a batch.

Legend: B pairs of the whole batch, b of a micro-batch or of one process, D joint width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from zoo.benchmarks.retrieval import relevance_groups, retrieve
from zoo.data.manifest import Entry
from zoo.models.mulan.model import MuLan
from zoo.nn.losses import infonce_chance, infonce_loss, multiview_chance, multiview_loss
from zoo.recipes.mulan.collapse import CollapseChecks
from zoo.recipes.mulan.config import Loss, MulanTrainConfig, TowerConfig
from zoo.recipes.mulan.spectra import PairBatch
from zoo.recipes.mulan.texts import Texts
from zoo.train import Group, Output, TrainingTask, processes

Pair = tuple[Tensor, Tensor]


class Contrast(TrainingTask):
    """Contrastive training of pairs. The best checkpoint is chosen by retrieval on dev."""

    monitor = "mrr"
    maximize = True
    hidden = frozenset({"audio_rank", "text_rank", "audio_cosine", "text_cosine"})

    def __init__(self, model: MuLan, config: MulanTrainConfig) -> None:
        super().__init__()
        self.model, self.config = model, config
        self.texts = Texts(config.data.text)
        self.towers: dict[str, tuple[nn.Module, TowerConfig]] = {
            "audio": (model.audio, config.audio),
            "text": (model.text, config.text),
        }
        for tower, settings in self.towers.values():
            if settings.frozen_steps == -1:
                tower.requires_grad_(False)
        self.collapse = CollapseChecks(config.collapse)

    def forward(self, batch: PairBatch) -> Output:
        """The loss of one micro-batch. Training contrasts all micro-batches of a step together, see `accumulate`."""
        return self.contrast(*self.embed(batch), gather=False)

    def embed(self, batch: PairBatch) -> Pair:
        """Unit vectors (b, D) of windows and texts, with the generator seeded by the batch."""
        torch.manual_seed(batch.seed)
        with self.autocast():
            audio = self.model.embed_spectrogram(batch.mel, batch.mel_lengths)
            return audio, self.model.forward_text(batch.ids, batch.text_lengths)

    def contrast(self, audio: Tensor, text: Tensor, *, gather: bool = True) -> Output:
        """The mean loss over the pairs of all processes, or of this process only if gather is False. Its count is 1."""
        temperature = self.model.temperature()
        size = len(audio)
        if gather and processes.world() > 1:
            size = int(processes.sum_tensor(torch.tensor(size, device=audio.device)))
        if self.config.loss == Loss.infonce:
            loss, chance = infonce_loss(audio, text, temperature, gather=gather), infonce_chance(size)
        else:
            inside = self.config.include_self or size == 1
            loss = multiview_loss(audio, text, temperature, include_self=inside, gather=gather)
            chance = multiview_chance(size, include_self=inside)
        logs = {"chance": (chance, 1.0), "temperature": (temperature.detach(), 1.0), "pairs": (float(size), 1.0)}
        return Output(loss, 1.0, logs)

    def accumulate(self, batches: Sequence[PairBatch], backward: Callable[[Output], None]) -> None:
        self._thaw()
        if len(batches) == 1:  # one pass is enough
            pairs = [self.embed(batches[0])]
        else:
            with frozen_batch_statistics(self.model):
                pairs = [_leaves(self.embed(batch)) for batch in batches]
        output = self.contrast(*(torch.cat(part) for part in zip(*pairs, strict=True)))  # (b, D) each
        backward(output)
        if len(batches) > 1:
            for batch, leaves in zip(batches, pairs, strict=True):
                torch.autograd.backward(self.embed(batch), [_gradient(leaf) for leaf in leaves])
        chance, _ = output.logs["chance"]
        self.collapse.update(self.step + 1, output.loss.detach(), float(chance), pairs[0], self.say)

    def groups(self) -> Sequence[Group]:
        towers = [
            Group(f"model.{name}.", scale=settings.learning_rate, start=max(0, settings.frozen_steps))
            for name, (_, settings) in self.towers.items()
        ]
        return [*towers, Group("model.temperature.", scale=self.config.temperature_rate)]

    def validate(self, batches: Iterable[PairBatch]) -> dict[str, float]:
        """Text-to-music retrieval on the dev set (MRR, R@10), its loss as one batch, and the collapse checks.

        Relevant clips are defined as in the evaluation (evaluation.same).
        """
        self._share_statistics()
        own: list[tuple[int, Entry, list[float], list[float]]] = []
        for batch in batches:
            vectors = [part.float().cpu().tolist() for part in self.embed(batch)]
            own += zip(batch.indices.tolist(), batch.entries, *vectors, strict=True)
        rows = sorted((row for part in processes.gather(own) for row in part), key=lambda row: row[0])
        entries = [row[1] for row in rows]
        texts = [self.texts.first(entry) for entry in entries]
        same = relevance_groups(entries, texts, self.config.evaluation.same)
        audio = torch.tensor([row[2] for row in rows], device=self.model.device)  # (b, D)
        text = torch.tensor([row[3] for row in rows], device=self.model.device)
        output = self.contrast(audio, text, gather=False)
        retrieved = retrieve(audio.cpu(), text.cpu(), np.arange(len(rows)), same)
        metrics = {
            "mrr": retrieved.mean_reciprocal_rank,
            "recall_at_10": retrieved.recall(10),
            "loss": float(output.loss),
            "chance": float(output.logs["chance"][0]),
            "temperature": float(self.model.temperature()),
        }
        return metrics | self.collapse.validation(self.step, audio, text, self.model.temperature, self.say)

    def export(self, directory: Path) -> None:
        self.model.save(directory)

    def _share_statistics(self) -> None:
        """Average the running averages over processes, because each process sees other micro-batches."""
        for norm in _norms(self.model):
            for average in (norm.running_mean, norm.running_var):
                if average is not None and processes.world() > 1:
                    average.copy_(processes.sum_tensor(average.clone()) / processes.world())

    def _thaw(self) -> None:
        """Freeze towers that are not trained yet, in evaluation mode, and unfreeze them when their steps come."""
        for tower, settings in self.towers.values():
            if settings.frozen_steps:
                trainable = 0 <= settings.frozen_steps <= self.step
                tower.requires_grad_(trainable).train(trainable)


@contextmanager
def frozen_batch_statistics(model: nn.Module) -> Iterator[None]:
    """Batch normalization as in training, but without updates of its running averages."""
    norms = _norms(model)
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def _norms(model: nn.Module) -> list[_BatchNorm]:
    return [module for module in model.modules() if isinstance(module, _BatchNorm)]


def _leaves(pair: Pair) -> Pair:
    """Detached copies that collect gradients."""
    audio, text = (part.detach().requires_grad_() for part in pair)
    return audio, text


def _gradient(leaf: Tensor) -> Tensor:
    assert leaf.grad is not None
    return leaf.grad
