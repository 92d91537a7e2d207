"""A few seconds of "speech" for the tests of quantizers."""

from noise_clips import clips as clips
