"""VAEs conditioned on a class label (Sohn et al. 2015, NeurIPS; Kingma et al. 2014, arXiv:1406.5298)."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Float

from gen_jax.types import VAE, Array, InputError


def class_conditional(vae: VAE, num_classes: int) -> VAE:
    """Return q(z|x, y), p(x|z, y) and p(z|y), whose context is a label y ∈ {0 … C − 1}: its one-hot is the context of `vae`.

    Under jit and vmap, where no error can be raised for a value, a label outside of 0 … C − 1 has a one-hot of zeros.

    Args:
        vae: a model that takes a context of [C].
        num_classes: C.

    Raises:
        InputError: there are fewer than 2 classes; or, when called, no label is given, or one that is none of them.
    """
    if num_classes < 2:
        raise InputError(f"num_classes is {num_classes}: give 2 or more.")

    def one_hot(label: Any) -> Float[Array, "C"]:
        if label is None:
            raise InputError(f"context is missing, and this model is conditional: give a label from 0 to {num_classes - 1}.")
        known = not isinstance(label, Tracer)
        if jnp.ndim(label) or jnp.result_type(label).kind not in "iu" or (known and not 0 <= int(label) < num_classes):
            given = label if known else f"an array of shape {jnp.shape(label)} and type {jnp.result_type(label)}"
            raise InputError(
                f"context is {given}, and the model has {num_classes} classes: give one whole number from 0 to {num_classes - 1} "
                "(vmap over more)."
            )
        return jax.nn.one_hot(label, num_classes)

    def init(key: Any, x: Array, context: Any = None) -> Any:
        return vae.init(key, x, one_hot(context))

    def encode(params: Any, x: Array, context: Any = None) -> Any:
        return vae.encode(params, x, one_hot(context))

    def decode(params: Any, z: Any, context: Any = None) -> Any:
        return vae.decode(params, z, one_hot(context))

    def prior(params: Any, context: Any = None) -> Any:
        return vae.prior(params, one_hot(context))

    return VAE(init, encode, decode, prior, vae.latent, num_classes)
