"""Defaults that the command line shows before anything heavy is imported."""

BATCH_SECONDS = 64.0  # padded audio in one batch; more gains nothing on a CPU and costs memory
SHARD_ITEMS = 2048  # items in one file of `zoo embed`
