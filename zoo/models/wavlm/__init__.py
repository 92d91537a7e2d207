"""WavLM: HuBERT with gated relative position bias."""
