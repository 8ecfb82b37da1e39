"""Exporting a model: its weights as safetensors and its functions as `jax.export` programs, which run without this package.

A program is StableHLO with the size b of the batch as a symbol. It takes every weight by its flat name, and arrays by name:

    weights = safetensors.numpy.load_file("weights.safetensors")
    decode = jax.export.deserialize(bytearray(Path("decode.jax").read_bytes()))
    x = decode.call(weights, z=z)["x"]

A program that draws takes `keys` uint32[b, 2], a key for each example, as `jax.random.key_data` gives them.
"""

import importlib.metadata
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import export as jax_export

import gen_jax
from gen_jax.data import DataView, to_unit
from gen_jax.tasks.export_functions import KEY_DATA, Arrays, Function, functions_of, key_of, shape_of
from gen_jax.tasks.export_readme import readme
from gen_jax.tasks.task import NOTHING, Outcome, Subject
from gen_jax.types import Array, InputError, Params

PLATFORMS = ("cpu", "cuda", "tpu")
WEIGHTS = "weights.safetensors"


class Program(NamedTuple):
    """An exported function.

    Attributes:
        exported: (weights, **arrays) -> arrays by name, all of them with a leading axis of length b but the weights.
        takes: the shapes of its arrays.
        about: what it returns, in a line.
    """

    exported: jax_export.Exported
    takes: Arrays
    about: str


def export(
    model: Any, params: Params, x: Any, *, view: DataView = DataView(), about: Mapping[str, Any] = NOTHING
) -> dict[str, bytes]:
    """Return files by name: the weights, a program for each function of the model, and what they take and return.

        for name, content in tasks.export(model, params, x).items():
            (folder / name).write_bytes(content)

    - `VAE`: encode, the mean of q(z|x), and its standard deviation if q is `Normal`; decode, the mean of p(x|z); sample, that
      mean at z ~ p(z); elbo and log_weight, log p(x, z) − log q(z|x), at one z ~ q(z|x).
    - `DensityModel`: log_prob; sample, x ~ p(x).
    - `GAN`: decode, G(z); sample, G(z) at z ~ p(z); discriminate, logits.
    - `Autoencoder`: encode; decode.

    Numbers are those that the model's own functions take and return: in its range, and not binarised. Matrix products are in
    float32 precision. A program has no gradient.

    Args:
        model: of any family.
        params: what its functions take.
        x: one example, or its `jax.ShapeDtypeStruct`.
        view: how the model sees stored examples, which the files say.
        about: what else they say, as JSON.

    Raises:
        InputError: the model is of no family, or two weights have one name.
    """
    weights = flat_weights(params)
    programs = {name: _program(function, params) for name, function in functions_of(model, params, x).items()}
    manifest = _manifest(model, programs, view, about)
    return {
        WEIGHTS: _safetensors(weights),
        **{f"{name}.jax": bytes(program.exported.serialize()) for name, program in programs.items()},
        "manifest.json": f"{json.dumps(manifest, indent=2, allow_nan=False, ensure_ascii=False)}\n".encode(),
        "README.md": readme(manifest).encode(),
    }


def flat_weights(params: Params) -> Arrays:
    """Return every array of the parameters and the state by its path, such as `encoder/params/Dense_0/kernel`.

    Raises:
        InputError: two arrays have one path, as in {"a/b": …, "a": {"b": …}}.
    """
    paths = [(jax.tree_util.keystr(path, simple=True, separator="/"), leaf) for path, leaf in jax.tree.leaves_with_path(params)]
    twice = [name for name, count in Counter(name for name, _ in paths).items() if count > 1]
    if twice:
        raise InputError(f"Two weights have the name {twice[0]}: rename one of them.")
    return dict(paths)


def _safetensors(weights: Arrays) -> bytes:
    from safetensors.numpy import save

    return save({name: np.asarray(leaf, order="C") for name, leaf in weights.items()})


def _program(function: Function, params: Params) -> Program:
    """Export a function for a batch of any size."""
    weights = jax.tree.map(shape_of, flat_weights(params))
    names, treedef = list(flat_weights(params)), jax.tree.structure(params)

    @jax.default_matmul_precision("highest")
    def batched(weights: Arrays, **arrays: Array) -> Arrays:
        rebuilt = jax.tree.unflatten(treedef, [weights[name] for name in names])

        def one(arrays: Arrays) -> Arrays:
            inputs = dict(arrays)
            return function.one(rebuilt, key_of(inputs.pop("keys", None)), **inputs)

        return jax.vmap(one)(arrays)

    (size,) = jax_export.symbolic_shape("b")
    inputs = function.inputs | ({"keys": KEY_DATA} if function.draws else {})
    takes = {name: jax.ShapeDtypeStruct((size, *leaf.shape), leaf.dtype) for name, leaf in inputs.items()}
    return Program(jax_export.export(jax.jit(batched), platforms=PLATFORMS)(weights, **takes), takes, function.about)


def _manifest(model: Any, programs: Mapping[str, Program], view: DataView, about: Mapping[str, Any]) -> dict[str, Any]:
    num_classes = getattr(model, "num_classes", None)
    values = {
        "x": _range_of(view),
        "labels": f"0 to {num_classes and num_classes - 1}",
        "keys": "any integers from 0 to 2^32 − 1; rows that differ draw independently",
    }
    taken = {"x"}.union(*(program.takes for program in programs.values()))
    return {
        "model": type(model).__name__,
        "weights": WEIGHTS,
        "programs": {
            name: {
                "file": f"{name}.jax",
                "about": program.about,
                "takes": _specs(program.takes),
                "returns": _specs(jax.tree.unflatten(program.exported.out_tree, program.exported.out_avals)),
            }
            for name, program in programs.items()
        },
        "values": {name: text for name, text in values.items() if name in taken},
        "platforms": list(PLATFORMS),
        "calling_convention_version": max(program.exported.calling_convention_version for program in programs.values()),
        "versions": {
            "gen_jax": gen_jax.__version__,
            "jax": jax.__version__,
            "jaxlib": importlib.metadata.version("jaxlib"),
        },
        **about,
    }


def _specs(arrays: Arrays) -> dict[str, Any]:
    size = lambda dim: dim if isinstance(dim, int) else str(dim)
    return {name: {"shape": [*map(size, leaf.shape)], "dtype": str(leaf.dtype)} for name, leaf in arrays.items()}


def _range_of(view: DataView) -> str:
    """Return which numbers the model was trained on, in words."""
    if view.symmetric:
        seen = "pixels from −1 to 1: 2 i − 1 for an intensity i from 0 to 1"
    elif view.read is to_unit:
        seen = "pixels from 0 to 1: those of 0 … 255 divided by 255; data of real numbers as they are"
    else:
        seen = "pixels from 0 to 1"
    match view.binarise:
        case "none":
            return seen
        case "threshold":
            how = "1 where it was 1/2 or more, else 0"
        case _:
            how = "1 with itself as the probability, else 0"
    return f"{seen}. Training saw each as 0 or 1: {how}. A program takes numbers as they are: binarise them before"


def perform(subject: Subject) -> Outcome:
    """Write the weights and the functions of a trained run into a folder: programs that run without this package.

    Args:
        subject: the run.
    """
    x = jax.ShapeDtypeStruct(tuple(subject.config["event_shape"]), jnp.float32)
    run = {**subject.config, "epoch": subject.provenance["epoch"]}
    files = export(subject.model, subject.params, x, view=subject.view, about={"run": run})
    return Outcome("export", "weights, programs and a README", files=files)
