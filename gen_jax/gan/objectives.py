"""What the two players of a GAN minimise, for a batch, with the statistics that their networks carry along."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

from gen_jax.gan.losses import AdversarialLoss, discriminator_loss, generator_loss
from gen_jax.gan.model import draw_latents
from gen_jax.gan.penalties import Penalty
from gen_jax.types import GAN, Array, Game, Key, Params

Objective = Callable[[Params, Game, Key, Array], tuple[Float[Array, ""], tuple[Params, dict[str, Any]]]]
"""(params of one player, game, key, x [B, *event]) -> (what it minimises, (its new statistics, metrics))."""


def discriminator_objective(
    gan: GAN,
    loss: AdversarialLoss,
    penalty: Penalty | None = None,
    penalty_weight: float | Float[Array, ""] = 0.0,
    together: bool = False,
) -> Objective:
    """Return what the discriminator minimises: E[real(D(x))] + E[fake(D(G(z)))] + λ E[penalty], over decisions.

    The generator normalises by its batch, as it does in its own step, and its statistics stay as they are.

    Args:
        gan: the model.
        loss: functions of a logit.
        penalty: on the gradient of D at its examples; D normalises by its averages there, so that an example is on its own.
        penalty_weight: λ.
        together: whether real and generated examples are one batch to a batch norm, or a batch each.
    """

    def objective(params: Params, game: Game, key: Key, x: Array) -> tuple[Array, tuple[Params, dict[str, Any]]]:
        z_key, penalty_key = jax.random.split(key)
        player = game.discriminator._replace(params=params)
        fake, _ = gan.generate(game.generator, draw_latents(gan.prior, z_key, len(x)), train=True)
        if together:
            logits, statistics = gan.discriminate(player, jnp.concatenate([x, fake]), train=True)
            real_logits, fake_logits = jnp.split(logits, 2)
        else:
            real_logits, statistics = gan.discriminate(player, x, train=True)
            fake_logits, statistics = gan.discriminate(player._replace(statistics=statistics), fake, train=True)
        value = discriminator_loss(loss, real_logits, fake_logits)
        metrics = {"discriminator_loss": value, "real_logit": jnp.mean(real_logits), "fake_logit": jnp.mean(fake_logits)}
        if penalty is None:
            return value, (statistics, metrics)

        def critic(pack: Array) -> Float[Array, ""]:
            return gan.discriminate(player, pack)[0][0]

        packs = [a.reshape(-1, gan.packing, *a.shape[1:]) for a in (x, fake)]
        keys = jax.random.split(penalty_key, len(packs[0]))
        penalties = jax.vmap(lambda k, real, fake: penalty(critic, k, real, fake))(keys, *packs)
        metrics["penalty"] = jnp.mean(penalties)
        return value + penalty_weight * metrics["penalty"], (statistics, metrics)

    return objective


def generator_objective(gan: GAN, loss: AdversarialLoss) -> Objective:
    """Return what the generator minimises: E[generator(D(G(z)))], over decisions.

    The discriminator normalises by the batch of generated examples, and its statistics stay as they are.
    """

    def objective(params: Params, game: Game, key: Key, x: Array) -> tuple[Array, tuple[Params, dict[str, Any]]]:
        player = game.generator._replace(params=params)
        fake, statistics = gan.generate(player, draw_latents(gan.prior, key, len(x)), train=True)
        logits, _ = gan.discriminate(game.discriminator, fake, train=True)
        value = generator_loss(loss, logits)
        return value, (statistics, {"generator_loss": value})

    return objective
