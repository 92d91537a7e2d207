"""A few seconds of "speech" for every test of units."""

from noise_clips import clips as clips
