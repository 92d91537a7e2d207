"""How the models are raised: `python -m zoo.recipes.FAMILY.train`.

oneDNN compiles its kernels anew for every shape and keeps 1024 of them. Training meets more (zoo.recipes.shapes), and
has the memory for them, about 0.1 MB each. oneDNN reads this when it is first used, so it stands where recipes begin.
"""

import os

KERNELS = "8192"

os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", KERNELS)
