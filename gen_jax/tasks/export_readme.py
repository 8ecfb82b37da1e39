"""The README of an exported model: what its programs take and return, and a script that runs them."""

from collections.abc import Mapping
from typing import Any

TEXT = """\
# A {model} without its code

Exported by gen_jax {gen_jax}. `{weights}` holds the weights, by name. Each `.jax` file is a program, serialised by `jax.export`,
for a batch of any size b ≥ 1 on {platforms}. It needs JAX, and neither gen_jax nor the code of the model. It computes in float32
precision and has no gradient. `manifest.json` holds what is said here, and how the model was trained.

| program | takes, besides the weights | returns |
| --- | --- | --- |
{rows}

{returns}

{values}

## Use

`pip install jax flatbuffers numpy safetensors`, then in this folder:

```python
{script}
```

What `load` returns is compiled once for each b: load a program once, and cut many examples into batches of one size. Memory grows
with b.

## How long it lasts

Made with jax {jax} and jaxlib {jaxlib} (calling convention {convention}). JAX promises that such a program runs with versions up
to 6 months newer and up to 3 weeks older (docs.jax.dev, "Exporting and serializing", on compatibility). The weights have no such
limit. Keep the run folder: `gen-jax export` makes the programs anew from it.

On a CPU, jaxlib 0.10.2 computes some sums of more than 32,768 numbers wrongly (jax issue 39103): start Python with
`XLA_FLAGS=--xla_cpu_experimental_ynn_fusion_type=-reduce`, or use another version.
"""


def readme(manifest: Mapping[str, Any]) -> str:
    """Return the README of what a manifest lists."""
    programs = manifest["programs"]
    return TEXT.format(
        model=manifest["model"],
        weights=manifest["weights"],
        platforms=", ".join(manifest["platforms"]),
        rows="\n".join(f"| `{one['file']}` | {_shapes(one['takes'])} | {_shapes(one['returns'])} |" for one in programs.values()),
        returns="\n".join(f"- {name}: {one['about']}." for name, one in programs.items()),
        values="\n".join(f"- `{name}`: {text}." for name, text in manifest["values"].items()),
        script=_script(manifest["weights"], programs),
        convention=manifest["calling_convention_version"],
        **manifest["versions"],
    )


def _shapes(specs: Mapping[str, Any]) -> str:
    return ", ".join(f"`{name}` {spec['dtype']}[{', '.join(map(str, spec['shape']))}]" for name, spec in specs.items())


def _script(weights: str, programs: Mapping[str, Any]) -> str:
    """Return a script that runs every program on arrays that it makes up."""
    lines = [
        "from pathlib import Path",
        "",
        "import jax",
        "import numpy as np",
        "from jax import export",
        "from safetensors.numpy import load_file",
        "",
        "",
        "def load(file):",
        "    return jax.jit(export.deserialize(bytearray(Path(file).read_bytes())).call)",
        "",
        "",
        f'weights = load_file("{weights}")',
        "rng, b = np.random.default_rng(0), 5",
    ]
    for name, program in programs.items():
        lines += ["", f'{name} = load("{program["file"]}")']
        arrays = [f"{argument}={_made_up(argument, spec)}" for argument, spec in program["takes"].items()]
        lines += [f"found = {name}(weights, {', '.join(arrays)})"]
        lines += [f'print("{name}", {{name: value.shape for name, value in found.items()}})']
    return "\n".join(lines)


def _made_up(name: str, spec: Mapping[str, Any]) -> str:
    """Return code for an array."""
    sizes = ", ".join(map(str, spec["shape"]))
    shape = f"({sizes},)" if len(spec["shape"]) == 1 else f"({sizes})"
    if name == "keys":
        return f"rng.integers(2**32, size={shape}, dtype=np.uint32)"
    return f"np.zeros({shape}, np.{spec['dtype']})"
