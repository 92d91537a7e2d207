"""Everything that the demo computes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from zoo import loading
from zoo.demo import benchmark, clips, maps, search, units, words

MODELS = ("mfcc", "logmel", "hubert", "mulan", "whisper")


@dataclass(frozen=True)
class DemoResults:
    """speech, music: the clips; the rest: what the models make of them."""

    speech: list[clips.DemoClip]
    music: list[clips.DemoClip]
    word_maps: list[maps.Map]
    music_maps: list[maps.Map]
    spectrograms: list[units.Spectrogram]
    transcripts: list[words.ShownTranscript]
    answers: list[search.SearchAnswer]
    tables: list[benchmark.ScoreTable]


def compute(report: Callable[[str], None]) -> DemoResults:
    """Generate the clips and run the models. report: is called with each step before it begins."""
    report("generating speech and music")
    speech = clips.build("speech")
    music = clips.build("music")
    spoken = clips.spoken_words(speech)
    unseen = clips.new_voices(speech)
    models = {name: loading.load(name) for name in MODELS}
    report("drawing maps of words and music")
    word_maps = [maps.draw(name, models[name], spoken, "label", "word") for name in ("mfcc", "hubert")]
    music_maps = [
        maps.draw("mfcc", models["mfcc"], music, "family", "family"),
        maps.draw("mulan", models["mulan"], music, "family", "family", pooling="mean"),  # as its search does
    ]
    report("finding hidden units")
    spectrograms = units.spectrograms(units.choose(unseen), models["hubert"], models["logmel"])
    report("transcribing")
    transcripts = words.transcribe(unseen, models["whisper"])
    report("searching music by text")
    answers = search.search(music, models["mulan"])
    report("running two small benchmarks")
    with tempfile.TemporaryDirectory() as folder, _one_thread():
        tables = [
            benchmark.evaluate_phones(clips.english_sentences(speech), Path(folder)),
            benchmark.evaluate_instruments(music, Path(folder)),
        ]
    return DemoResults(speech, music, word_maps, music_maps, spectrograms, transcripts, answers, tables)


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread for probes: their matrices are so small that a second one gains nothing."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
