"""Words that a model transcribes from audio without speech: silence, noise and music. In words per minute; 0 is right.

    silence   digital zeros, and 16 bits of dither (their last bit at random)
    noise     white and pink, at -30 dB relative to full scale
    music     the test clips of the source of the task; it must hold no speech

Legend: N clips.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from zoo.audio import Clip
from zoo.benchmarks.corruptions import noise
from zoo.benchmarks.evaluated import read_clips, task_result, test_items, transcribe_clips
from zoo.benchmarks.items import EvalItems
from zoo.benchmarks.results import TaskResult
from zoo.benchmarks.significance import ratio_interval
from zoo.benchmarks.suite import SuiteTask
from zoo.encoder import Encoder
from zoo.text.normalizers import normalizer

SECONDS = (
    5.0,
    10.0,
    20.0,
    30.0,
)  # lengths of the generated clips; a full window (30 s for Whisper) may change the behavior
DRAWS = 3  # random clips of each length
LEVEL = 10 ** (-30 / 20)


def run(task: SuiteTask, items: EvalItems, encoder: Encoder) -> TaskResult:
    """Words per minute, of all clips and for each sound. Raises ConfigError if no music can be read."""
    notes: list[str] = []
    music = read_clips(notes, test_items(task, items), encoder.sample_rate)
    clips = [
        *clips_without_speech(encoder.sample_rate),
        *(("music", item.key, item.group, clip) for item, clip in music),
    ]
    predictions = transcribe_clips(task, encoder, [clip for _, _, _, clip in clips])
    clean = normalizer("basic")
    words = np.array([len(clean(text).split()) for text in predictions], dtype=float)
    minutes = np.array([len(clip) / encoder.sample_rate / 60 for _, _, _, clip in clips])
    kinds, groups = np.array([sound for sound, _, _, _ in clips]), [group for _, _, group, _ in clips]
    details = {}
    for sound in dict.fromkeys(kinds.tolist()):
        of_sound = kinds == sound
        longest = max((text for text, selected in zip(predictions, of_sound, strict=True) if selected), key=len)
        details[sound] = {
            "words": int(words[of_sound].sum()),
            "minutes": float(minutes[of_sound].sum()),
            "clips": int(of_sound.sum()),
            "clips with words": int((words[of_sound] > 0).sum()),
            "longest": longest[:200],
        }
    rows = []
    for (_, key, group, _), text, count, length in zip(clips, predictions, words, minutes, strict=True):
        row = {"item": key, "group": group, "truth": "", "predicted": text}
        rows.append(row | {"value": float(count), "weight": float(length)})
    score = float(words.sum() / minutes.sum())
    interval = ratio_interval(words, minutes, np.array(groups), share=False)
    fields = {"lower_is_better": True, "details": details, "notes": notes, "rows": rows}
    return task_result("words a minute", score, interval, groups, **fields)


def clips_without_speech(sample_rate: int) -> Iterator[tuple[str, str, str, Clip]]:
    """Generated clips, the same in every run: sound, name, group, waveform."""
    for seconds in SECONDS:
        count = round(seconds * sample_rate)
        yield "silence", f"silence {seconds:g} s", f"silence {seconds:g} s", torch.zeros(count)
        for sound in ("dither", "white noise", "pink noise"):
            for draw in range(DRAWS):
                name = f"{sound} {seconds:g} s {draw}"
                yield "silence" if sound == "dither" else sound, name, name, _wave(sound, count, sample_rate, draw)


def _wave(sound: str, count: int, sample_rate: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    if sound == "dither":
        return torch.randint(-1, 2, (count,), generator=generator) / 2**15
    return LEVEL * noise(count, sample_rate, sound.split()[0], generator)
