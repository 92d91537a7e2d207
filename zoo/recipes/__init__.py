"""Training recipes, one folder a model family: `python -m zoo.recipes.FAMILY.train`.

oneDNN compiles its kernels once for each tensor shape and caches 1024 of them by default. Training has more shapes (see
zoo.recipes.shapes), and a kernel takes only about 0.1 MB. oneDNN reads the size of the cache at its first use, so it is
set here, before any recipe runs.
"""

import os

KERNELS = "8192"

os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", KERNELS)
