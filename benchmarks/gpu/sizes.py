"""How much is measured: `full` for a GPU, `tiny` to rehearse every section on a CPU in seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Size:
    """rounds, round_seconds: of each measurement. matrix: side of the square matrix product that gives the peak.

    structures: those of the contract, None = all; contract_models: full-sized ones whose batches are checked too.
    overrides: family -> options that shrink its registered models.
    clips, clip_seconds: of the embeddings, 1 s to clip_seconds each; single_clips: of them, one at a time;
    batches: clips in a batch of transformers; batch_seconds: audio in a batch of zoo.
    pretrain_seconds: audio in a batch; crop_seconds: of each clip.
    pairs: in a batch of MuLan; speech_windows: in a batch of Whisper, whisper_sizes: trained.
    decode: Whisper's size -> numbers of windows; tokens: in each; beam: Whisper's size with beams.
    points: rows, width and clusters of k-means.
    """

    rounds: int
    round_seconds: float
    matrix: int
    structures: tuple[str, ...] | None
    contract_models: tuple[str, ...]
    overrides: dict[str, dict[str, Any]]
    clips: int
    clip_seconds: float
    single_clips: int
    batches: tuple[int, ...]
    batch_seconds: tuple[float, ...]
    pretrain_seconds: tuple[float, ...]
    crop_seconds: float
    pairs: int
    speech_windows: int
    whisper_sizes: tuple[str, ...]
    decode: dict[str, tuple[int, ...]]
    tokens: int
    beam: str
    points: tuple[tuple[int, int, int], ...]
    budgets: dict[str, float] = field(default_factory=dict)


FULL = Size(
    rounds=5,
    round_seconds=1.5,
    matrix=8192,
    structures=None,
    contract_models=("hubert-base", "whisper-tiny"),
    overrides={},
    clips=256,
    clip_seconds=15.0,
    single_clips=48,
    batches=(8, 32, 128),
    batch_seconds=(64.0, 256.0, 1024.0),
    pretrain_seconds=(87.5, 350.0, 1400.0),
    crop_seconds=15.625,
    pairs=64,
    speech_windows=16,
    whisper_sizes=("tiny", "base", "large-v3"),
    decode={"tiny": (1, 64), "base": (1, 64), "large-v3": (16,)},
    tokens=96,
    beam="base",
    points=((200_000, 256, 200), (400_000, 768, 500)),
    budgets={"peak": 15, "contract": 95, "embed": 110, "pretrain": 75, "train": 60, "decode": 80, "k-means": 30},
)

TINY = Size(
    rounds=1,
    round_seconds=0.1,
    matrix=256,
    structures=("mulan-mini", "mulan-mini-ast", "whisper-tiny"),
    contract_models=(),
    overrides={
        "hubert": {"layers": 1, "dim": 96, "heads": 4, "ffn_dim": 96, "conv_dim": 32, "position_groups": 4},
        "wav2vec2": {"layers": 1, "dim": 96, "heads": 4, "ffn_dim": 96, "conv_dim": 32, "position_groups": 4},
        "mulan": {
            "window_seconds": 1.0,
            "resnet_width": 8,
            "resnet_blocks": (1, 1, 1, 1),
            "audio_dim": 96,
            "audio_layers": 1,
            "audio_heads": 4,
            "audio_ffn_dim": 96,
            "vocab_size": 500,
            "text_dim": 96,
            "text_layers": 1,
            "text_heads": 4,
            "text_ffn_dim": 96,
        },
        "whisper": {
            "dim": 96,
            "heads": 4,
            "encoder_layers": 1,
            "decoder_layers": 1,
            "decoder_heads": 4,
            "vocab_size": 2048,
            "alignment_heads": (),
        },
    },
    clips=3,
    clip_seconds=2.0,
    single_clips=2,
    batches=(2,),
    batch_seconds=(4.0,),
    pretrain_seconds=(2.0,),
    crop_seconds=1.0,
    pairs=3,
    speech_windows=2,
    whisper_sizes=("tiny",),
    decode={"tiny": (2,)},
    tokens=6,
    beam="tiny",
    points=((2_000, 8, 5),),
)

SIZES = {"full": FULL, "tiny": TINY}
