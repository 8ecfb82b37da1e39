"""gen_jax: generative models as pure functions in JAX.

Importing the package initialises no device and imports neither TensorFlow, matplotlib nor scikit-learn.
"""

import importlib
import importlib.metadata
import os
import sys
import warnings
from typing import Any

__version__ = "0.1.0"

# jaxlib 0.10.2 compiles some sums over arrays of more than 2¹⁵ numbers wrongly on a CPU, without a word (jax issue 39103). XLA
# reads the flag when its first device is initialised.
_FLAG = "--xla_cpu_experimental_ynn_fusion_type"
_flags = os.environ.get("XLA_FLAGS", "")
if importlib.metadata.version("jaxlib") == "0.10.2" and _FLAG not in _flags:
    os.environ["XLA_FLAGS"] = f"{_flags} {_FLAG}=-reduce".strip()
    _jax = sys.modules.get("jax")
    if _jax is not None and _jax._src.xla_bridge.backends_are_initialized() and _jax.default_backend() == "cpu":
        warnings.warn(
            "JAX started before gen_jax was imported, and with jaxlib 0.10.2 sums of more than 32,768 numbers can be wrong on a "
            f"CPU: import gen_jax first, or start Python with XLA_FLAGS={_FLAG}=-reduce.",
            stacklevel=2,
        )

_ROOMS = (
    "autoencoders", "data", "densities", "distributions", "evaluate", "flows", "gan", "made", "nets", "plots", "recipes", "runs",
    "sweep", "tasks", "train", "tune", "types", "vae",
)  # fmt: skip
_SHORT = {"fit": "gen_jax.train", "load_dataset": "gen_jax.data"}


def __getattr__(name: str) -> Any:
    """Import `fit` and `load_dataset`, and the rooms of the package, when they are first asked for."""
    if name in _SHORT:
        return getattr(importlib.import_module(_SHORT[name]), name)
    if name in _ROOMS:
        return importlib.import_module(f"gen_jax.{name}")
    raise AttributeError(f"module 'gen_jax' has no attribute {name!r}")
