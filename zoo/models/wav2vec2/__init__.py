"""Cards of wav2vec 2.0 and its relatives, which HuBERT's encoder computes."""
