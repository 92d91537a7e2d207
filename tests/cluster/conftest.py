"""A few seconds of "speech" for every test of quantizers."""

from noise_clips import clips as clips
