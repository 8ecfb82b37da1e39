"""The strict flags: shapes and types are checked at run time, rank promotion raises, warnings are errors (pyproject)."""

import gc
import importlib.metadata
import os
import signal
from pathlib import Path

import jaxtyping
import pytest

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Most of a test's time is compilation. XLA's own passes run as ever; on a CPU LLVM's optimisation does not, and kernels are
# emitted in the older way, which takes half as long. CI runs some tests again with GEN_JAX_TEST_XLA=normal, as a user has it.
if os.environ["JAX_PLATFORMS"] == "cpu" and os.environ.get("GEN_JAX_TEST_XLA") != "normal":
    flags = ["--xla_backend_optimization_level=0"]
    if importlib.metadata.version("jaxlib").startswith("0.10."):  # a flag that is unknown to a later version ends the process
        flags += ["--xla_cpu_use_fusion_emitters=false", "--xla_cpu_parallel_codegen_split_count=1"]
    os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *flags]).strip()
jaxtyping.install_import_hook("gen_jax", "beartype.beartype")

import jax  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_default_matmul_precision", "highest")  # a GPU's TF32 would fail tolerances of float32
jax.config.update("jax_compilation_cache_dir", str(Path(__file__).parents[1] / ".jax_cache"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)

gc.set_threshold(100_000, 20, 20)  # tracing makes many objects that stay: looking for garbage takes a twentieth of a test's time

# a shell that starts the tests in the background has them ignore SIGINT, and what they start would inherit that
signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED_DATA = Path(os.environ.pop("GEN_JAX_DATA_DIR", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture
def shared_data() -> Path:
    """The real data: in GEN_JAX_DATA_DIR, or beside the project. A test that needs them is skipped where they are not."""
    if not (SHARED_DATA / "mnist").is_dir():
        pytest.skip("needs the data sets in GEN_JAX_DATA_DIR, or in shared/data beside the project")
    return SHARED_DATA.absolute()


@pytest.fixture
def key() -> jax.Array:
    return jax.random.key(0)
