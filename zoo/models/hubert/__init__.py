"""HuBERT: masked prediction of hidden units."""
