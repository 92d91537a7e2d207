"""Settings and kernels that make PyTorch fast on CPUs."""
