"""ABX on the phones of test clips: which layers tell phones apart, whoever speaks? See zoo.benchmarks.abx_score.

context: triphone   a token is a phone with both neighbors; A, B and X have the same neighbors (ZeroSpeech 2021)
         phone      the phone alone, but with the same neighbors
         any        the phone alone, whatever stands beside it
Each phone of a speaker in a context has at most `tokens` tokens, drawn at random. Phones with silence beside them
have no context, and are tokens only with `any`.

Legend: T frames, D width, L layers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from zoo.benchmarks import abx_score, candidates
from zoo.benchmarks.abx_score import Token
from zoo.benchmarks.evaluated import BATCH, drop_short, items_with, read_clips, task_result
from zoo.benchmarks.items import EvalItem, EvalItems
from zoo.benchmarks.options import with_defaults
from zoo.benchmarks.results import TaskResult
from zoo.benchmarks.significance import blocks, jackknife
from zoo.benchmarks.suite import SuiteTask
from zoo.data.alignments import SILENCES
from zoo.encoder import Encoder
from zoo.errors import ConfigError

_GAP = 0.002  # s between neighbors


def run(task: SuiteTask, source: EvalItems, encoder: Encoder) -> TaskResult:
    """The ABX error, with a row for each block of groups. Layers are chosen on dev.

    Raises ConfigError if a split has no clips with phones, or no two phones to compare.
    """
    options = with_defaults(task.kind, task.arguments())
    layers = candidates.of(task, encoder.num_layers + 1)
    best = layers[0]
    curves = {}
    notes: list[str] = []
    if len(layers) > 1:
        errors = _Split(notes, task, source, encoder, options, "dev").errors(layers)
        best = layers[int(np.argmin(errors))]
        curves["dev"] = errors
    test = _Split(notes, task, source, encoder, options, "test")
    block, names = blocks([item.group for item in test.items])
    cells = test.cells(best, block)
    error = cells.error()
    without = np.array([cells.error_without(number) for number in range(len(names))])
    interval, rows = jackknife(error, without, names)
    groups = [item.group for item in test.items]
    result = task_result(f"ABX error, {options['speakers']} speakers", error, interval, groups, notes=notes, rows=rows)
    result.layer, result.lower_is_better, result.curves = best, True, curves
    result.details = {"tokens": len(test.tokens), "cells": len(cells.errors), "chance": 0.5}
    return result


class _Split:
    """The tokens of one split, with their frames at all layers."""

    def __init__(
        self,
        notes: list[str],
        task: SuiteTask,
        source: EvalItems,
        encoder: Encoder,
        options: dict[str, Any],
        split: str,
    ) -> None:
        self.options, self.split = options, split
        selected = [source.items[row] for row in source.select(task) if source.items[row].entry.split == split]
        if not selected:
            raise ConfigError(f"the {split} split has no clips for this task")
        with_phones = items_with(notes, "phones", selected, lambda item: bool(item.entry.phones))
        clips = drop_short(notes, read_clips(notes, with_phones, encoder.sample_rate), encoder)
        self.items = [item for item, _ in clips]
        self.tokens = choose_tokens(self.items, options["context"], options["tokens"])
        self.frames: list[np.ndarray] = [np.zeros(0)] * len(self.tokens)  # (L, T, D) each
        of_clip: dict[int, list[int]] = defaultdict(list)
        for number, token in enumerate(self.tokens):
            of_clip[token.clip].append(number)
        used = sorted(of_clip)
        for start in range(0, len(used), BATCH):
            batch = used[start : start + BATCH]
            encoded = encoder.encode([clips[clip][1] for clip in batch], encoder.sample_rate, layer="all").unpad()
            for clip, x in zip(batch, encoded, strict=True):
                for number in of_clip[clip]:
                    part = span(self.tokens[number], x.shape[1], encoder.first_time, encoder.frame_rate)
                    self.frames[number] = x[:, part].to("cpu", torch.float32).numpy()

    def cells(self, layer: int, block: np.ndarray) -> abx_score.Cells:
        """Cells of a layer. block: number of the block of each clip."""
        groups = np.array([block[token.clip] for token in self.tokens], dtype=int)
        found = abx_score.cells(
            self.tokens,
            [frames[layer] for frames in self.frames],
            groups,
            across=self.options["speakers"] == "across",
            others=self.options["others"],
        )
        if not found.errors:
            raise ConfigError(f"the {self.split} split has no two phones to compare; choose another context")
        return found

    def errors(self, layers: Sequence[int]) -> list[float]:
        """The error of each layer."""
        one = np.zeros(len(self.items), dtype=int)
        return [self.cells(layer, one).error() for layer in layers]


def choose_tokens(items: Sequence[EvalItem], context: str, limit: int) -> list[Token]:
    """Tokens of the phones of these clips, at most `limit` for a phone of a speaker in a context."""
    found: dict[tuple[Any, ...], list[Token]] = defaultdict(list)
    for clip, item in enumerate(items):
        phones = item.entry.phones
        speaker = item.entry.speaker or item.group
        for number, (start, end, symbol) in enumerate(phones):
            if symbol in SILENCES:
                continue
            neighbors = _neighbors(phones, number)
            if context == "any":
                token = Token(symbol, speaker, (), clip, start, end)
            elif neighbors is None:
                continue
            else:
                beside = tuple(symbol for _, _, symbol in neighbors)
                if context == "triphone":
                    start, end = neighbors[0][0], neighbors[1][1]
                token = Token(symbol, speaker, beside, clip, start, end)
            found[token.phone, token.speaker, token.context].append(token)
    generator = np.random.default_rng(abx_score.SEED)
    tokens = []
    for _, alike in sorted(found.items()):
        tokens += [alike[index] for index in sorted(generator.permutation(len(alike))[:limit])]
    return tokens


def _neighbors(phones: Sequence[tuple[float, float, str]], number: int) -> list[tuple[float, float, str]] | None:
    """The phones before and after one, if both touch it and are no silence."""
    if not 0 < number < len(phones) - 1:
        return None
    before, phone, after = phones[number - 1 : number + 2]
    if before[2] in SILENCES or after[2] in SILENCES:
        return None
    touch = phone[0] - before[1] < _GAP and after[0] - phone[1] < _GAP
    return [before, after] if touch else None


def span(token: Token, count: int, first: float, rate: float) -> slice:
    """The frames with their centers inside a token; the nearest one, if there is none.

    count: frames of the clip. first: center of frame 0 in s. rate: frames a second.
    """
    start = int(np.ceil((token.start - first) * rate - 1e-6))
    stop = int(np.floor((token.end - first) * rate + 1e-6)) + 1
    start, stop = max(start, 0), min(stop, count)
    if start < stop:
        return slice(start, stop)
    middle = round(((token.start + token.end) / 2 - first) * rate)
    nearest = min(max(middle, 0), count - 1)
    return slice(nearest, nearest + 1)
