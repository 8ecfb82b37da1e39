"""gen_jax: generative models as pure functions in JAX.

Importing the package initialises no device and imports neither TensorFlow, matplotlib nor scikit-learn.
"""

import importlib.metadata
import os

__version__ = "0.1.0"

# jaxlib 0.10.2 compiles some sums over arrays of more than 2¹⁵ numbers wrongly on a CPU, without a word (jax issue 39103). XLA
# reads the flag when its first device is initialised; where that was before this import, it is too late.
_FLAG = "--xla_cpu_experimental_ynn_fusion_type"
_flags = os.environ.get("XLA_FLAGS", "")
if importlib.metadata.version("jaxlib") == "0.10.2" and _FLAG not in _flags:
    os.environ["XLA_FLAGS"] = f"{_flags} {_FLAG}=-reduce".strip()
