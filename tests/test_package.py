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
