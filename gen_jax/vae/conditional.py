"""VAEs conditioned on a class label (Sohn et al. 2015, NeurIPS; Kingma et al. 2014, arXiv:1406.5298)."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Float

from gen_jax.types import VAE, Array, InputError


def class_conditional(vae: VAE, num_classes: int) -> VAE:
    """Return the VAE q(z|x, y), p(x|z, y), p(z|y) of labels y ∈ {0 … C − 1}, whose one-hot vectors are the context of `vae`.

    Under jit and vmap, where a value cannot be checked, a label outside 0 … C − 1 becomes a vector of zeros.

    Args:
        vae: a model that takes a context of [C].
        num_classes: C.

    Raises:
        InputError: C is less than 2; or, when called, the label is missing or invalid.
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

    return VAE(
        init=lambda key, x, context=None: vae.init(key, x, one_hot(context)),
        encode=lambda params, x, context=None: vae.encode(params, x, one_hot(context)),
        decode=lambda params, z, context=None: vae.decode(params, z, one_hot(context)),
        prior=lambda params, context=None: vae.prior(params, one_hot(context)),
        latent=vae.latent,
        num_classes=num_classes,
    )
