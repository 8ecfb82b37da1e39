"""What importing the package does, and does not do."""

import subprocess
import sys

HEAVY = ("tensorflow", "tensorflow_datasets", "matplotlib", "sklearn", "torch")


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_import_is_light_and_initialises_no_device():
    code = (
        "import sys, gen_jax; from jax._src import xla_bridge;"
        f"print(xla_bridge.backends_are_initialized(), [m for m in {HEAVY} if m in sys.modules])"
    )
    assert run(code) == "False []"


def test_importing_every_package_initialises_no_device():
    code = (
        "import gen_jax.cli, gen_jax.recipes, gen_jax.vae, gen_jax.nets; from jax._src import xla_bridge; import sys;"
        "print(xla_bridge.backends_are_initialized(), [m for m in ('tensorflow', 'sklearn') if m in sys.modules])"
    )
    assert run(code) == "False []"


def test_a_help_text_waits_for_nothing_heavy():
    """Of the packages that take long to import it needs JAX, Flax and Optax, which the tasks are made of."""
    heavy = (*HEAVY, "gen_jax.recipes", "gen_jax.runs", "grain", "orbax", "PIL", "pydantic", "scipy")
    assert run(f"import sys, gen_jax.cli; print([m for m in {heavy} if m in sys.modules])") == "[]"


def test_sums_over_long_arrays_are_right():
    """Under jaxlib 0.10.2 they are not, but for a flag that the package sets: x = (i, 0, 0) has ‖I x‖² = i²."""
    code = (
        "import jax, gen_jax, jax.numpy as jnp; i = jnp.arange(32_769.0); x = jnp.stack([i, 0 * i, 0 * i], axis=1);"
        "f = jax.jit(jax.vmap(lambda row: jnp.sum((jnp.eye(3) @ row) ** 2))); print(float(f(x)[-1]))"
    )
    assert run(code) == str(32_768.0**2)
