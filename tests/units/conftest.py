"""A few seconds of "speech" for the tests of units."""

from noise_clips import clips as clips
