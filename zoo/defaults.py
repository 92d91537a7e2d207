"""Defaults that the command line shows without importing torch."""

BATCH_SECONDS = 64.0  # padded audio in one batch; more costs memory and is not faster on a CPU
SHARD_ITEMS = 2048  # items in one file of `zoo embed`
