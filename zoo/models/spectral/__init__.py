"""Spectra without weights: the baselines."""
