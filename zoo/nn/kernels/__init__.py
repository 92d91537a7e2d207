"""What makes PyTorch fast on CPUs. With ZOO_KERNELS=0 in the environment, everything runs on plain PyTorch."""
