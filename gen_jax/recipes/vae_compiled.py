"""What is computed of a VAE over many examples: ELBO terms, likelihood estimates, draws, reconstructions, compiled once each."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gen_jax.data import Split, to_unit
from gen_jax.evaluate import LikelihoodEstimate, importance_weighted, map_examples, posterior_mean
from gen_jax.types import VAE, Array, Key, Params
from gen_jax.vae import Quantised, elbo_terms, log_weight

REDRAWN = 8  # images of which some layers of latents are equal


def context_of(num_classes: int | None, batch: Split) -> Any:
    """Return what a model is conditioned on: the labels, where it has classes."""
    return None if num_classes is None else batch.labels


class CompiledVae(NamedTuple):
    """The functions of a VAE that run over many examples, compiled once. An example is a `Split` of one image and its label.

    Attributes:
        describe: (params, keys, examples) -> columns of ELBO terms, KL by part, posterior means, codes.
        estimate: (params, keys, examples, num_samples) -> `LikelihoodEstimate` of every image.
        sample: (params, key, num) -> means of p(x|z) at z drawn from the prior; under the labels in turn, where there are some.
        reconstruct: (params, keys, examples) -> means of p(x|z) at a z drawn from the posterior.
        decode: (params, latents, labels or None) -> means of p(x|z).
        draw: (params, key, label or None) -> 10,000 z of the prior.
        redraw: (params, key, how many layers are kept) -> means of p(x|z), the layers below drawn anew.
    """

    describe: Callable[..., dict[str, Any]]
    estimate: Callable[..., LikelihoodEstimate]
    sample: Callable[..., Array]
    reconstruct: Callable[..., Array]
    decode: Callable[..., Array]
    draw: Callable[..., Array]
    redraw: Callable[..., Array]


def compile_vae(vae: VAE, num_classes: int | None) -> CompiledVae:
    """Return the functions of a VAE, jitted; they are compiled when they are first called."""
    context = functools.partial(context_of, num_classes)

    def describe(params: Params, key: Key, example: Split) -> dict[str, Any]:
        x, y = to_unit(example.images), context(example)
        terms_key, mean_key = jax.random.split(key)
        terms = elbo_terms(vae, params, terms_key, x, y)
        posterior = vae.encode(params, x, y)
        mean = posterior_mean(posterior, mean_key)
        codes = {"codes": posterior.codes} if isinstance(posterior, Quantised) else {}
        return {**terms.metrics, "kl_parts": terms.kl_parts, "posterior_mean": mean, **codes}

    def estimate(params: Params, keys: Array, examples: Split, num_samples: int) -> LikelihoodEstimate:
        # rows of the decoder's matrix products: as many as a CPU's caches like, or as fill a GPU
        rows = 1000 if jax.default_backend() == "cpu" else 50_000

        def one(params: Params, key: Key, example: Split) -> LikelihoodEstimate:
            x, y = to_unit(example.images), context(example)
            return importance_weighted(lambda k: log_weight(vae, params, k, x, y), key, num_samples, chunk_size=rows)

        return map_examples(one, params, keys, examples, chunk_size=max(1, rows // num_samples))

    def decode(params: Params, z: Any, label: Array | None) -> Array:
        with jax.default_matmul_precision("highest"):
            return vae.decode(params, z, label).mean

    def sample(params: Params, key: Key, num: int) -> Array:
        def one(row: tuple[Key, Array]) -> Array:
            key, label = row[0], None if num_classes is None else row[1]
            return decode(params, vae.prior(params, label).sample(key), label)

        labels = jnp.arange(num) % (num_classes or 1)
        return jax.lax.map(one, (jax.random.split(key, num), labels), batch_size=100)

    def reconstruct(params: Params, key: Key, example: Split) -> Array:
        with jax.default_matmul_precision("highest"):
            y = context(example)
            return decode(params, vae.encode(params, to_unit(example.images), y).sample(key), y)

    def draw(params: Params, key: Key, label: Array | None) -> Array:
        return jax.vmap(vae.prior(params, label).sample)(jax.random.split(key, 10_000))

    def redraw(params: Params, key: Key, num_kept: int) -> Array:
        prior: Any = vae.prior(params, None)  # a `MarkovChain`
        kept_key, redrawn_key = jax.random.split(key)
        value = prior.sample(kept_key)
        keys = jax.random.split(redrawn_key, REDRAWN)
        return jax.vmap(lambda k: decode(params, prior.redraw(k, value, num_kept), None))(keys)

    return CompiledVae(
        describe=jax.jit(functools.partial(map_examples, describe, chunk_size=500)),
        estimate=jax.jit(estimate, static_argnums=3),
        sample=jax.jit(sample, static_argnums=2),
        reconstruct=jax.jit(jax.vmap(reconstruct, in_axes=(None, 0, 0))),
        decode=jax.jit(jax.vmap(decode, in_axes=(None, 0, 0))),
        draw=jax.jit(draw),
        redraw=jax.jit(redraw, static_argnums=2),
    )
