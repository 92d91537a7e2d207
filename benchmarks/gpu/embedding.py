"""Embedding throughput of each family: zoo against transformers (SDPA, bfloat16), from waveforms to pooled vectors.

transformers gets clips sorted by length in batches of several sizes, with an attention mask; the best is what counts.
Its result for a clip then depends on the batch. One clip at a time is its way to the result that zoo always gives.

Legend: B clips, S samples, T frames, D width.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any
from unittest import mock

import torch
from torch import Tensor

import zoo
from benchmarks.gpu.machine import Machine
from benchmarks.gpu.models import RATE, clips, create
from benchmarks.gpu.sections import Case, Row, Section
from benchmarks.gpu.sizes import Size
from zoo import audio
from zoo.encoder import Encoder

Embed = Callable[[list[Tensor]], Tensor]
"""Waveforms (S,) -> (B, D)."""


def cases(machine: Machine, size: Size) -> list[Case]:
    speech = ["hubert-base", *zoo.list_models("wav2vec2-base*")[:1]]
    found = [Case(name, partial(speech_encoder, name, machine, size)) for name in speech]
    found.append(Case("whisper-base", partial(whisper_encoder, "whisper-base", machine, size)))
    found += [Case(name, partial(music_encoder, name, machine, size)) for name in ("mulan-resnet50", "mulan-ast")]
    found.append(Case("AST tower", partial(ast_tower, machine, size), needs=("transformers",)))
    return found


def speech_encoder(name: str, machine: Machine, size: Size) -> Iterator[Row]:
    """HuBERT, or wav2vec 2.0: the same weights in both systems, where there are two."""
    model = create(name, machine, size)
    peer = None
    if has_transformers():
        from benchmarks.gpu import peers

        peer = peers.speech_encoder(model.family, model.config)
        model = peers.as_ours(peer).to(machine.device)
        peer = peer.to(machine.device, torch.bfloat16)
    run = Comparison(name, machine, size, model)
    half = copy.deepcopy(model).bfloat16()
    yield from run.ours(model, "zoo float32", size.batch_seconds[:1])
    yield from run.ours(half, "zoo bfloat16", size.batch_seconds)
    if peer is not None:
        yield from run.theirs(partial(embed_speech, peer, machine))


def embed_speech(peer: Any, machine: Machine, waves: list[Tensor]) -> Tensor:
    """One padded batch through transformers."""
    from benchmarks.gpu import peers

    x, lengths = audio.pad(waves)
    mask = torch.arange(x.shape[1]) < lengths[:, None]
    counts = peer._get_feat_extract_output_lengths(lengths).tolist()
    with torch.inference_mode():
        frames = peer(x.to(machine.device, torch.bfloat16), attention_mask=mask.to(machine.device)).last_hidden_state
        return peers.pool(frames, counts)


def whisper_encoder(name: str, machine: Machine, size: Size) -> Iterator[Row]:
    """The encoder of Whisper, with silence up to 30 s as published, and without."""
    model: Any = create(name, machine, size)
    peer = None
    if has_transformers():
        from benchmarks.gpu import peers

        whole = peers.whisper(model.config)
        model = peers.as_ours(whole).to(machine.device)
        peer = whole.to(machine.device, torch.bfloat16).get_encoder()
    run = Comparison(name, machine, size, model)
    yield from run.ours(copy.deepcopy(model).bfloat16(), "zoo bfloat16", size.batch_seconds)
    unpadded = copy.deepcopy(model).bfloat16()
    unpadded.padding = "none"
    yield from run.ours(unpadded, "zoo bfloat16, clip context", size.batch_seconds[-1:], same=False)
    if peer is not None:
        yield from run.theirs(partial(embed_windows, peer, machine, model.config.mels))


def embed_windows(peer: Any, machine: Machine, mels: int, waves: list[Tensor]) -> Tensor:
    """One batch of windows of 30 s through transformers, with its own spectra, made on the device."""
    import transformers

    from benchmarks.gpu import peers

    extractor = transformers.WhisperFeatureExtractor(feature_size=mels)
    arrays = [wave.numpy() for wave in waves]
    spectra = extractor(arrays, sampling_rate=RATE, return_tensors="pt", device=str(machine.device)).input_features
    with torch.inference_mode():
        frames = peer(spectra.to(machine.device, torch.bfloat16)).last_hidden_state
        return peers.pool(frames, [len(wave) // 320 for wave in waves])


def music_encoder(name: str, machine: Machine, size: Size) -> Iterator[Row]:
    model = create(name, machine, size)
    run = Comparison(name, machine, size, model)
    half = copy.deepcopy(model).bfloat16()
    yield from run.ours(model, "zoo float32", size.batch_seconds[:1])
    yield from run.ours(half, "zoo bfloat16", size.batch_seconds)


def ast_tower(machine: Machine, size: Size) -> Iterator[Row]:
    """The AST of MuLan against transformers: spectra in, vectors out."""
    from benchmarks.gpu import peers

    model: Any = create("mulan-ast", machine, size)
    peer = peers.ast(model.audio, model.config).to(machine.device, torch.bfloat16)
    tower = model.audio.bfloat16()
    tower.level, tower.spread = 0.0, 1.0  # transformers does this outside of the model
    for batch in size.batches:
        mel = torch.randn(batch, tower.frames, model.config.mels, device=machine.device, dtype=torch.bfloat16)
        lengths = torch.full((batch,), tower.frames)
        systems: dict[str, Callable[[], Tensor]] = {
            "zoo bfloat16": partial(tower, mel, lengths),
            "transformers bfloat16": partial(pooled_by_peer, peer, mel),
        }
        with torch.inference_mode():
            expected = systems["zoo bfloat16"]().float()
            for system, run in systems.items():
                cosine = torch.cosine_similarity(run().float(), expected, dim=-1).min()
                measured = machine.measure(run, rounds=size.rounds, seconds=size.round_seconds)
                row: Row = {"case": "AST tower", "system": f"{system}, batches of {batch}"}
                row["x real time"] = batch * model.config.window_seconds / measured.seconds
                yield row | measured.row() | {"cosine, min": float(cosine)}


def pooled_by_peer(peer: Any, mel: Tensor) -> Tensor:
    output: Tensor = peer(mel).pooler_output
    return output


class Comparison:
    """Rows of one model: each system embeds the same clips, and is compared with zoo in float32, clip after clip."""

    def __init__(self, name: str, machine: Machine, size: Size, model: Encoder) -> None:
        self.name, self.machine, self.size = name, machine, size
        self.waves = clips(size.clips, size.clip_seconds)
        self.singles = self.waves[: size.single_clips]
        self.exact = torch.stack([model.embed(wave, RATE) for wave in self.singles])

    def row(self, system: str, embed: Embed, waves: list[Tensor], same: bool = True) -> Row:
        """same: whether the result should be that of zoo in float32."""
        vectors = embed(waves)[: len(self.singles)].cpu()
        rounds, seconds = self.size.rounds, self.size.round_seconds
        measured = self.machine.measure(lambda: embed(waves), rounds=rounds, seconds=seconds, warm=True)
        audio_seconds = sum(map(len, waves)) / RATE
        cosine = float(torch.cosine_similarity(vectors, self.exact, dim=-1).min()) if same else None
        row: Row = {"case": self.name, "system": system, "x real time": audio_seconds / measured.seconds}
        waits = self.machine.count_waits(lambda: embed(waves))
        return row | measured.row() | {"cosine, min": cosine, "waits for the GPU": waits}

    def ours(self, model: Encoder, system: str, sizes: Sequence[float], same: bool = True) -> Iterator[Row]:
        """With batches of each of these sizes, in seconds; zoo itself has one size."""
        for batch_seconds in sizes:
            with (
                mock.patch("zoo.audio.batching.BATCH_SECONDS", batch_seconds),
                mock.patch("zoo.audio.batching.BATCH_CHUNKS", 4096),
            ):
                name = f"{system}, batches of {batch_seconds:.0f} s"
                row = self.row(name, partial(model.embed, sample_rate=RATE), self.waves, same)
            yield row

    def theirs(self, embed: Embed) -> Iterator[Row]:
        """One clip at a time, then with each size of batches."""
        alone = partial(sorted_batches, embed, 1)
        yield self.row("transformers bfloat16, one clip at a time", alone, self.singles)
        for batch in self.size.batches:
            name = f"transformers bfloat16, batches of {batch}"
            yield self.row(name, partial(sorted_batches, embed, batch), self.waves)


def sorted_batches(embed: Embed, batch: int, waves: list[Tensor]) -> Tensor:
    """Vectors (B, D) in the order of `waves`, which are embedded in batches of similar length."""
    order = sorted(range(len(waves)), key=lambda index: len(waves[index]))
    parts = [embed([waves[index] for index in order[i : i + batch]]) for i in range(0, len(order), batch)]
    back = torch.tensor(order).argsort()
    return torch.cat(parts).cpu()[back]


def has_transformers() -> bool:
    try:
        import transformers  # noqa: F401
    except ImportError:
        return False
    return True


EMBED = Section("embed", "Embedding: audio seconds a second", cases)
