"""Configuration of a Whisper."""

from __future__ import annotations

from dataclasses import dataclass

from zoo.errors import ConfigError
from zoo.validation import check_structure

PADDINGS = ("30s", "none")
PAD_POSITIONS = 200  # positions of silence after a clip with padding "none"; with fewer the decoder repeats itself
MIN_POSITIONS = 400  # positions of the shortest window; published models were not trained on shorter ones


def check_padding(padding: object) -> None:
    """Raises ConfigError for an unknown padding."""
    if padding not in PADDINGS:
        raise ConfigError(f"padding {padding!r} is unknown; choose one of {', '.join(PADDINGS)}")


@dataclass(frozen=True)
class WhisperConfig:
    """All settings of a Whisper except its tokenizer. The defaults are those of tiny.

    audio_ctx: positions of the longest window, 20 ms each; text_ctx: tokens that the decoder can hold.
    padding: "30s" (silence fills the window after every clip, as published) or "none" (the clip alone is encoded).
        The window is audio_ctx positions long, 30 s in published models.
    pad_positions: positions of silence that the decoder receives after a clip with padding "none".
    min_positions: positions that it receives at least with padding "none". A model that was trained without padding
        sets both to the values of its training.
    alignment_heads: (layer, head) of the cross-attention heads that follow the words in time.
    Raises ConfigError for values that do not fit together.
    """

    mels: int = 80
    audio_ctx: int = 1500
    dim: int = 384
    heads: int = 6
    encoder_layers: int = 4
    decoder_layers: int = 4
    decoder_heads: int = 6
    text_ctx: int = 448
    vocab_size: int = 51_865
    padding: str = "30s"
    pad_positions: int = PAD_POSITIONS
    min_positions: int = MIN_POSITIONS
    alignment_heads: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        check_structure(self, may_be_zero=("pad_positions", "min_positions"))
        heads = tuple((int(layer), int(head)) for layer, head in self.alignment_heads)
        object.__setattr__(self, "alignment_heads", heads)
        check_padding(self.padding)
        for name, count in (("heads", self.heads), ("decoder_heads", self.decoder_heads)):
            if self.dim % count:
                raise ConfigError(f"dim {self.dim} is not a multiple of {name} {count}")
        for layer, head in heads:
            if not (0 <= layer < self.decoder_layers and 0 <= head < self.decoder_heads):
                raise ConfigError(
                    f"alignment_heads {heads}: ({layer}, {head}) does not exist; the decoder has {self.decoder_layers} "
                    f"layers of {self.decoder_heads} heads"
                )

    @property
    def trained_unpadded(self) -> bool:
        """Whether the model was trained without padding: then pad_positions or min_positions is not the default."""
        return (self.pad_positions, self.min_positions) != (PAD_POSITIONS, MIN_POSITIONS)
