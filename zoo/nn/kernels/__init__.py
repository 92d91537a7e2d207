"""What makes plain PyTorch fast on CPUs."""
