"""What builds a Whisper."""

from __future__ import annotations

from dataclasses import dataclass

from zoo.errors import ConfigError

CONTEXTS = ("full", "clip")


TAIL = 200  # positions of silence that a decoder hears after a clip in context "clip": with fewer it repeats itself


LEAST = 400  # positions that it hears of the shortest clips: it was not taught on shorter windows


@dataclass(frozen=True)
class WhisperConfig:
    """Everything that builds a Whisper but the tokenizer. Defaults are those of tiny.

    audio_ctx: positions of the longest window, 20 ms each; text_ctx: tokens that the decoder can hold.
    context: "full" (every clip is heard as 30 s, silence after it, as published) or "clip" (nothing but the clip).
    tail, least: positions of silence that the decoder hears after a clip in context "clip", and positions in all; a
        model that was trained on clips says with how many.
    alignment_heads: (layer, head) of the cross-attention heads that follow the words in time.
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
    context: str = "full"
    tail: int = TAIL
    least: int = LEAST
    alignment_heads: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        heads = tuple((int(layer), int(head)) for layer, head in self.alignment_heads)
        object.__setattr__(self, "alignment_heads", heads)
        if self.context not in CONTEXTS:
            raise ConfigError(f'context {self.context!r}: choose "full" or "clip"')
        for name, count in (("heads", self.heads), ("decoder_heads", self.decoder_heads)):
            if self.dim % count:
                raise ConfigError(f"dim {self.dim} is not a multiple of {name} {count}")
        if any(not (0 <= a < self.decoder_layers and 0 <= b < self.decoder_heads) for a, b in heads):
            raise ConfigError(f"alignment_heads {heads}: the decoder has {self.decoder_layers} layers of heads only")

    @property
    def taught_on_clips(self) -> bool:
        """Whether the model was trained in context "clip": then it says how much silence it heard after a clip."""
        return (self.tail, self.least) != (TAIL, LEAST)
