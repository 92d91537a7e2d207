"""Spectral baselines without weights."""
