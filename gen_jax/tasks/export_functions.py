"""The functions of each family that `export` makes programs of, for one example: arrays by name in, arrays by name out."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import export as jax_export

from gen_jax.autoencoders import Autoencoder
from gen_jax.distributions import Normal
from gen_jax.evaluate import posterior_mean
from gen_jax.tasks.task import refuse
from gen_jax.types import GAN, VAE, Array, DensityModel, Key, Params, context_of, split
from gen_jax.vae import Quantised, elbo_terms, log_weight

KEY_DATA = jax.ShapeDtypeStruct((2,), np.uint32)
Arrays = dict[str, Any]
"""Arrays, or their shapes, by name."""


class Function(NamedTuple):
    """A function of a model, for one example.

    Attributes:
        one: (params, key, **inputs) -> arrays by name.
        inputs: the shape and type of what it takes besides.
        about: what it returns, in a line.
        draws: whether it uses its key.
    """

    one: Callable[..., Arrays]
    inputs: Arrays
    about: str
    draws: bool = False


def functions_of(model: Any, params: Params, x: Any) -> dict[str, Function]:
    """Return the functions of a model by name; x is one example.

    Raises:
        InputError: it is of no family.
    """
    one = {"x": shape_of(x)}
    match model:
        case VAE():
            return _of_vae(model, params, one)
        case DensityModel():
            return {
                "log_prob": Function(lambda p, key, x: {"log_prob": model.log_prob(p, x)}, one, "log p(x), in nats"),
                "sample": Function(lambda p, key: {"x": model.sample(p, key)}, {}, "x ~ p(x)", draws=True),
            }
        case GAN():
            return _of_gan(model, params, one["x"])
        case Autoencoder():
            z = jax.eval_shape(model.encode, params, one["x"])
            return {
                "encode": Function(lambda p, key, x: {"z": model.encode(p, x)}, one, "the code z of x"),
                "decode": Function(lambda p, key, z: {"x": model.decode(p, z)}, {"z": z}, "the reconstruction of x from z"),
            }
        case _:
            raise refuse(model, "be exported", "a VAE, a flow, a MADE, a GAN or an autoencoder")


def shape_of(leaf: Any) -> jax.ShapeDtypeStruct:
    """Return the shape and the type of an array."""
    return jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf))


def key_of(data: Array | None) -> Key:
    """Return the key of two numbers, as `jax.random.key` makes it, whatever the default generator is."""
    return jax.random.wrap_key_data(jnp.zeros(2, jnp.uint32) if data is None else data, impl="threefry2x32")


def _of_vae(vae: VAE, params: Params, one: Arrays) -> dict[str, Function]:
    def draw(params: Params, key: Key, labels: Array | None = None) -> Any:
        return vae.prior(params, context_of(vae, labels)).sample(key)

    def posterior_of(params: Params, x: Array, labels: Array | None = None) -> Any:
        return vae.encode(params, x, context_of(vae, labels))

    def encode(params: Params, key: Key, x: Array, labels: Array | None = None) -> Arrays:
        posterior = posterior_of(params, x, labels)
        codes = {"codes": posterior.codes} if isinstance(posterior, Quantised) else {}
        scale = {"z_scale": posterior.scale} if isinstance(posterior, Normal) else {}
        return {**_named(posterior_mean(posterior, key)), **scale, **codes}

    def decode(params: Params, key: Key, labels: Array | None = None, **z: Array) -> Arrays:
        latents = jax.tree.unflatten(jax.tree.structure(like), [z[name] for name in _named(like)])
        return {"x": vae.decode(params, latents, context_of(vae, labels)).mean}

    def sample(params: Params, key: Key, labels: Array | None = None) -> Arrays:
        z = _named(draw(params, key, labels))
        return {**decode(params, key, labels, **z), **z}

    def elbo(params: Params, key: Key, x: Array, labels: Array | None = None) -> Arrays:
        return elbo_terms(vae, params, key, x, context_of(vae, labels)).metrics

    def weight(params: Params, key: Key, x: Array, labels: Array | None = None) -> Arrays:
        return {"log_weight": log_weight(vae, params, key, x, context_of(vae, labels))}

    label = _label(vae)
    like, posterior = jax.eval_shape(draw, params, key_of(None), **label), jax.eval_shape(posterior_of, params, **one, **label)
    is_point, has_mean = isinstance(posterior, Quantised), hasattr(type(posterior), "mean")
    scale = "; z_scale: its standard deviation" if isinstance(posterior, Normal) else ""
    codes = "; codes: the places of its vectors in the codebook" if is_point else ""
    what = f"z: the mean of q(z|x){'' if has_mean else ', over 100 draws'}{scale}{codes}"
    bound = "at most log p(x)" if is_point else "at one z ~ q(z|x); its mean over keys is at most log p(x)"
    functions = {
        "encode": Function(encode, one | label, what, draws=not has_mean),
        "decode": Function(decode, _named(like) | label, "x: the mean of p(x|z)"),
        "sample": Function(sample, label, "x: the mean of p(x|z) at z ~ p(z)", draws=True),
        "elbo": Function(elbo, one | label, f"elbo = −distortion − rate in nats, {bound}", draws=not is_point),
    }
    if is_point:  # log w would be the ELBO
        return functions
    about = (
        "log w = log p(x, z) − log q(z|x) in nats, at one z ~ q(z|x); logsumexp of K of them, less log K, is the "
        "importance-weighted bound, which tends to log p(x)"
    )
    return functions | {"log_weight": Function(weight, one | label, about, draws=True)}


def _of_gan(gan: GAN, params: Params, x: Any) -> dict[str, Function]:
    batch_of_one = lambda labels: None if labels is None else labels[None]

    def decode(params: Params, key: Key, z: Array, labels: Array | None = None) -> Arrays:
        return {"x": gan.generate(*split(params), key, z[None], batch_of_one(labels))[0][0]}

    def sample(params: Params, key: Key, labels: Array | None = None) -> Arrays:
        z = gan.prior.sample(key)
        return {**decode(params, jax.random.fold_in(key, 1), z, labels), "z": z}

    def discriminate(params: Params, key: Key, x: Array, labels: Array | None = None) -> Arrays:
        output = gan.discriminate(*split(params), x if gan.packing > 1 else x[None], batch_of_one(labels))[0]
        classes = {} if output.classes is None else {"classes": output.classes[0]}
        return {"logits": output.logits[0], **classes}

    label = _label(gan)
    pack = x if gan.packing == 1 else jax.ShapeDtypeStruct((gan.packing, *x.shape), x.dtype)
    packs = "" if gan.packing == 1 else f", of a pack of {gan.packing} examples that are all real or all generated"
    has_classes = "classes" in jax.eval_shape(discriminate, params, key_of(None), pack, **label)
    classes = "; classes: the logits of its classes" if has_classes else ""
    decoder = Function(decode, {"z": jax.eval_shape(gan.prior.sample, key_of(None))} | label, "x = G(z)")
    return {
        "decode": decoder._replace(draws=_uses_key(decoder, params)),
        "sample": Function(sample, label, "x = G(z) at z ~ p(z)", draws=True),
        "discriminate": Function(discriminate, {"x": pack} | label, f"the logit of p(x is real){packs}{classes}"),
    }


def _uses_key(function: Function, params: Params) -> bool:
    """Return whether a function draws: of a program of fixed shapes, JAX keeps the arguments that it uses."""
    arguments = (jax.tree.map(shape_of, params), function.inputs)
    of_one = jax.jit(lambda params, inputs, data: function.one(params, key_of(data), **inputs))
    return len(jax.tree.leaves(arguments)) in jax_export.export(of_one)(*arguments, KEY_DATA).module_kept_var_idx


def _label(model: VAE | GAN) -> Arrays:
    """Return the shape of a label, of a conditional model."""
    return {} if model.num_classes is None else {"labels": jax.ShapeDtypeStruct((), jnp.int32)}


def _named(z: Any) -> Arrays:
    """Return latents by name: z, or z_1, z_2, … of a model with layers."""
    leaves = jax.tree.leaves(z)
    return {"z": leaves[0]} if len(leaves) == 1 else {f"z_{i}": leaf for i, leaf in enumerate(leaves, start=1)}
