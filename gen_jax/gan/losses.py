"""What generator and discriminator minimise, as functions of one logit l of the discriminator, which is high for real examples.

Minimax and non-saturating: Goodfellow et al. 2014 (arXiv:1406.2661). Least squares: Mao et al. 2017 (arXiv:1611.04076).
Wasserstein: Arjovsky et al. 2017 (arXiv:1701.07875). Hinge: Lim and Ye 2017 (arXiv:1705.02894), Miyato et al. 2018
(arXiv:1802.05957). The classes of an auxiliary classifier: Odena et al. 2017 (arXiv:1610.09585).

The discriminator's loss is the sum of its two expectations, never half of it: of the minimax loss it is −V(D, G). The ½ of least
squares belongs to its squares, as in its paper.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from gen_jax.types import Array, InputError


class AdversarialLoss(NamedTuple):
    """What D and G minimise, in functions of one logit ([] -> []).

    Attributes:
        real: D minimises E[real(D(x))] + E[fake(D(G(z)))], x of the data.
        fake: the other term of D's.
        generator: G minimises E[generator(D(G(z)))].
    """

    real: Callable[[Array], Array]
    fake: Callable[[Array], Array]
    generator: Callable[[Array], Array]


def _minus_log_real(logit: Array) -> Array:
    """−log σ(l)."""
    return jax.nn.softplus(-logit)


def _minus_log_fake(logit: Array) -> Array:
    """−log (1 − σ(l))."""
    return jax.nn.softplus(logit)


MINIMAX = AdversarialLoss(_minus_log_real, _minus_log_fake, lambda logit: -_minus_log_fake(logit))
"""−log σ(l), −log(1 − σ(l)) and, for G, log(1 − σ(l)): the zero-sum game. G's gradient vanishes, as e^l, where D wins."""

NON_SATURATING = AdversarialLoss(_minus_log_real, _minus_log_fake, _minus_log_real)
"""The same discriminator; G minimises −log σ(l), whose gradient tends to −1 where D wins."""

LEAST_SQUARES = AdversarialLoss(
    lambda logit: 0.5 * (logit - 1) ** 2, lambda logit: 0.5 * logit**2, lambda logit: 0.5 * (logit - 1) ** 2
)
"""½(l − 1)², ½l², ½(l − 1)²: in the paper's letters a = 0, b = c = 1."""

WASSERSTEIN = AdversarialLoss(lambda logit: -logit, lambda logit: logit, lambda logit: -logit)
"""−l, l, −l. For a D that is 1-Lipschitz, which a penalty or clipping has to see to, minus its loss is a lower bound on W₁."""

HINGE = AdversarialLoss(lambda logit: jax.nn.relu(1 - logit), lambda logit: jax.nn.relu(1 + logit), lambda logit: -logit)
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
    """Return mean real(l) + mean fake(l̃) over logits l, [B], of real examples and l̃, [B2], of generated ones.

    Raises:
        InputError: the logits are not of rank 1.
    """
    _check_logits("real_logits", real_logits)
    _check_logits("fake_logits", fake_logits)
    return jnp.mean(jax.vmap(loss.real)(real_logits)) + jnp.mean(jax.vmap(loss.fake)(fake_logits))


def generator_loss(loss: AdversarialLoss, fake_logits: Float[Array, "..."]) -> Float[Array, ""]:
    """Return mean generator(l̃) over logits l̃, [B], of generated examples.

    Raises:
        InputError: the logits are not of rank 1.
    """
    _check_logits("fake_logits", fake_logits)
    return jnp.mean(jax.vmap(loss.generator)(fake_logits))


def class_loss(logits: Float[Array, "B C"], labels: Int[Array, "B"]) -> Float[Array, ""]:
    """Return the mean of −log softmax(logits)[label], in nats.

    With an auxiliary classifier both networks minimise it beside their own loss: D on real examples (and, in the paper, on
    generated ones too), G on those that it made for the labels. A label of C or more gives NaN.
    """
    log_probs = jax.nn.log_softmax(logits)
    return -jnp.mean(jax.vmap(lambda row, label: jnp.take(row, label, mode="fill"))(log_probs, labels))


def _check_logits(name: str, logits: Array) -> None:
    # the loss of [B, 1] or [B, classes] would be a number too, and of the latter a wrong one
    if logits.ndim != 1:
        raise InputError(
            f"{name} has shape {logits.shape}, and a loss takes [B], one logit for each example or pack: drop a last axis of 1 "
            "with logits[:, 0], ravel the logits of patches, and give those of classes to class_loss."
        )
