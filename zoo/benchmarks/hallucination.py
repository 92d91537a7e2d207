"""What a model writes down where nobody speaks: words per minute over silence, noise and music; 0 is right.

    silence   digital zeros, and 16 bits of dither (their last bit at random)
    noise     white and pink, at -30 dB of full scale
    music     the test clips of the task's source, which must hold no speech

Legend: N clips.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from zoo.audio import Clip
from zoo.benchmarks.corruptions import noise
from zoo.benchmarks.evaluated import readable, score, test_items, transcripts
from zoo.benchmarks.items import EvalItems
from zoo.benchmarks.results import Record, Rows
from zoo.benchmarks.significance import ratio_interval
from zoo.benchmarks.suite import SuiteTask
from zoo.encoder import Encoder
from zoo.text.normalizers import normalizer

SECONDS = (5.0, 10.0, 20.0, 30.0)  # of the made clips: a model may behave otherwise where its window is full
DRAWS = 3  # clips of each length, of what chance has a part in
LEVEL = 10 ** (-30 / 20)


def run(record: Record, task: SuiteTask, items: EvalItems, encoder: Encoder) -> Rows:
    """Fill the record: score, and per sound, words per minute. Raises ConfigError where no music can be read."""
    music = readable(record, test_items(task, items), encoder.sample_rate)
    clips = [*made(encoder.sample_rate), *(("music", item.key, item.group, clip) for item, clip in music)]
    said = transcripts(task, encoder, [clip for _, _, _, clip in clips])
    clean = normalizer("basic")
    words = np.array([len(clean(text).split()) for text in said], dtype=float)
    minutes = np.array([len(clip) / encoder.sample_rate / 60 for _, _, _, clip in clips])
    kinds, groups = np.array([sound for sound, _, _, _ in clips]), [group for _, _, group, _ in clips]
    record.lower_is_better = True
    interval = ratio_interval(words, minutes, np.array(groups), share=False)
    score(record, "words a minute", float(words.sum() / minutes.sum()), interval, groups)
    for sound in dict.fromkeys(kinds.tolist()):
        here = kinds == sound
        longest = max((text for text, chosen in zip(said, here, strict=True) if chosen), key=len)
        record.details[sound] = {
            "words": int(words[here].sum()),
            "minutes": float(minutes[here].sum()),
            "clips": int(here.sum()),
            "clips with words": int((words[here] > 0).sum()),
            "longest": longest[:200],
        }
    rows = zip(clips, said, words.tolist(), minutes.tolist(), strict=True)
    return [
        {"item": key, "group": group, "truth": "", "predicted": text, "credit": count, "weight": length}
        for (_, key, group, _), text, count, length in rows
    ]


def made(sample_rate: int) -> Iterator[tuple[str, str, str, Clip]]:
    """Clips without speech, the same in every run: sound, name, group, waveform."""
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
