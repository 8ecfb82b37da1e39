"""Losses of the generator and the discriminator, as functions of the discriminator's logit l, which is high for real examples.

Minimax and non-saturating: Goodfellow et al. 2014 (arXiv:1406.2661). Least squares: Mao et al. 2017 (arXiv:1611.04076).
Wasserstein: Arjovsky et al. 2017 (arXiv:1701.07875). Hinge: Lim and Ye 2017 (arXiv:1705.02894), Miyato et al. 2018
(arXiv:1802.05957). Auxiliary classifier: Odena et al. 2017 (arXiv:1610.09585).

The discriminator's loss is the sum of its two expectations, not half of it, so for minimax it is −V(D, G).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.nn import relu, softplus
from jaxtyping import Float, Int

from gen_jax.types import Array, InputError


class AdversarialLoss(NamedTuple):
    """D minimises E[real(D(x))] + E[fake(D(G(z)))], and G minimises E[generator(D(G(z)))]; each is a function of one logit."""

    real: Callable[[Array], Array]
    fake: Callable[[Array], Array]
    generator: Callable[[Array], Array]


MINIMAX = AdversarialLoss(lambda logit: softplus(-logit), softplus, lambda logit: -softplus(logit))
"""−log σ(l), −log(1 − σ(l)), log(1 − σ(l)): the zero-sum game. G's gradient vanishes as e^l when D wins."""

NON_SATURATING = AdversarialLoss(lambda logit: softplus(-logit), softplus, lambda logit: softplus(-logit))
"""−log σ(l), −log(1 − σ(l)), −log σ(l). G's gradient tends to −1 when D wins."""

LEAST_SQUARES = AdversarialLoss(
    lambda logit: 0.5 * (logit - 1) ** 2, lambda logit: 0.5 * logit**2, lambda logit: 0.5 * (logit - 1) ** 2
)
"""½(l − 1)², ½l², ½(l − 1)²: the paper's with a = 0, b = c = 1, and its factor ½."""

WASSERSTEIN = AdversarialLoss(lambda logit: -logit, lambda logit: logit, lambda logit: -logit)
"""−l, l, −l. If D is 1-Lipschitz, which a penalty or clipping must ensure, minus its loss is a lower bound on W₁."""

HINGE = AdversarialLoss(lambda logit: relu(1 - logit), lambda logit: relu(1 + logit), lambda logit: -logit)
"""max(0, 1 − l), max(0, 1 + l), −l."""

LOSSES = {
    "minimax": MINIMAX,
    "non-saturating": NON_SATURATING,
    "least-squares": LEAST_SQUARES,
    "wasserstein": WASSERSTEIN,
    "hinge": HINGE,
}
"""By their names on a command line."""


def discriminator_loss(
    loss: AdversarialLoss, real_logits: Float[Array, "..."], fake_logits: Float[Array, "..."]
) -> Float[Array, ""]:
    """Return the mean of real(l) over logits [B] of real examples, plus the mean of fake(l) over logits [B2] of generated ones.

    Raises:
        InputError: the logits are not of rank 1.
    """
    return _mean(loss.real, real_logits, "real_logits") + _mean(loss.fake, fake_logits, "fake_logits")


def generator_loss(loss: AdversarialLoss, fake_logits: Float[Array, "..."]) -> Float[Array, ""]:
    """Return the mean of generator(l) over logits [B] of generated examples.

    Raises:
        InputError: the logits are not of rank 1.
    """
    return _mean(loss.generator, fake_logits, "fake_logits")


def class_loss(logits: Float[Array, "B C"], labels: Int[Array, "B"]) -> Float[Array, ""]:
    """Return the mean of −log softmax(logits)[label], in nats, of an auxiliary classifier; NaN if a label is not in 0 … C − 1."""
    log_probs = jax.nn.log_softmax(logits)
    labels = jnp.where(labels < 0, logits.shape[-1], labels)  # −1 would be the last class
    return -jnp.mean(jax.vmap(lambda row, label: jnp.take(row, label, mode="fill"))(log_probs, labels))


def _mean(of_logit: Callable[[Array], Array], logits: Array, name: str) -> Float[Array, ""]:
    # the mean over [B, classes] would be a number too, and a wrong one
    if logits.ndim != 1:
        raise InputError(
            f"{name} has shape {logits.shape}, and a loss takes [B], one logit for each example or pack: drop a last axis of 1 "
            "with logits[:, 0], ravel the logits of patches, and give those of classes to class_loss."
        )
    return jnp.mean(jax.vmap(of_logit)(logits))
