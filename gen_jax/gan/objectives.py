"""What the two players of a GAN minimise, for a batch, with the statistics that their networks carry along."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

from gen_jax.gan.latents import draw_latents
from gen_jax.gan.losses import AdversarialLoss, class_loss, discriminator_loss, generator_loss
from gen_jax.gan.model import Labels, pack
from gen_jax.gan.penalties import Penalty
from gen_jax.types import GAN, Array, Game, InputError, Key, Params, Verdict

Objective = Callable[..., tuple[Float[Array, ""], tuple[Params, dict[str, Any]]]]
"""(params of one player, game, key, x [B, *event], labels [B]=None) -> (what it minimises, (its new statistics, metrics))."""


def discriminator_objective(
    gan: GAN,
    loss: AdversarialLoss,
    penalty: Penalty | None = None,
    penalty_weight: float | Float[Array, ""] = 0.0,
    together: bool = False,
) -> Objective:
    """Return what the discriminator minimises: E[real(D(x))] + E[fake(D(G(z)))] + λ E[penalty], over decisions.

    The generator normalises by its batch, as it does in its own step, and its statistics stay as they are. It is given the labels
    of the batch, where the model is conditional. An auxiliary classifier adds its `class_loss` on real examples and on generated
    ones.

    Args:
        gan: the model.
        loss: functions of a logit.
        penalty: on the gradient of D at its examples; D normalises by its averages there, so that an example is on its own.
        penalty_weight: λ.
        together: whether D is applied to real and generated examples as one batch, or to each as a batch of its own. A batch norm
            then normalises otherwise, and a spectral norm iterates once and not twice; to any other D it is the same function,
            and one batch is faster.

    Raises:
        InputError: (where the objective is called) `gan.packing` does not divide the batch.
    """

    def objective(
        params: Params, game: Game, key: Key, x: Array, labels: Labels = None
    ) -> tuple[Array, tuple[Params, dict[str, Any]]]:
        pack(x, gan.packing)  # raises; without it a pack of both together could mix real and generated examples
        z_key, penalty_key = jax.random.split(key)
        player = game.discriminator._replace(params=params)
        fake, _ = gan.generate(game.generator, draw_latents(gan.prior, z_key, len(x)), labels, train=True)
        if together:
            of_both = None if labels is None else jnp.concatenate([labels, labels])
            verdict, statistics = gan.discriminate(player, jnp.concatenate([x, fake]), of_both, train=True)
            half = len(verdict.logits) // 2
            of_real, of_fake = (jax.tree.map(lambda a, part=part: a[part], verdict) for part in (slice(half), slice(half, None)))
        else:
            of_real, statistics = gan.discriminate(player, x, labels, train=True)
            of_fake, statistics = gan.discriminate(player._replace(statistics=statistics), fake, labels, train=True)
        metrics = {
            "discriminator_loss": discriminator_loss(loss, of_real.logits, of_fake.logits),
            "real_logit": jnp.mean(of_real.logits),
            "fake_logit": jnp.mean(of_fake.logits),
        }
        value = metrics["discriminator_loss"]
        if of_real.classes is not None:
            metrics["class_loss"] = _class_loss(of_real, labels) + _class_loss(of_fake, labels)
            value += metrics["class_loss"]
        if penalty is None:
            return value, (statistics, metrics)

        def penalty_of(key: Key, real: Array, fake: Array, label: Array | None) -> Float[Array, ""]:
            def critic(pack: Array) -> Float[Array, ""]:
                return gan.discriminate(player, pack, None if label is None else label[None])[0].logits[0]

            return penalty(critic, key, real, fake)

        packs = [a.reshape(-1, gan.packing, *a.shape[1:]) for a in (x, fake)]
        keys = jax.random.split(penalty_key, len(packs[0]))
        metrics["penalty"] = jnp.mean(jax.vmap(penalty_of)(keys, *packs, labels))
        return value + penalty_weight * metrics["penalty"], (statistics, metrics)

    return objective


def generator_objective(gan: GAN, loss: AdversarialLoss) -> Objective:
    """Return what the generator minimises: E[generator(D(G(z)))], over decisions.

    The discriminator normalises by the batch of generated examples, and its statistics stay as they are. A conditional generator
    is given the labels of the batch; an auxiliary classifier adds its `class_loss` on what was made for them.
    """

    def objective(
        params: Params, game: Game, key: Key, x: Array, labels: Labels = None
    ) -> tuple[Array, tuple[Params, dict[str, Any]]]:
        player = game.generator._replace(params=params)
        fake, statistics = gan.generate(player, draw_latents(gan.prior, key, len(x)), labels, train=True)
        verdict, _ = gan.discriminate(game.discriminator, fake, labels, train=True)
        value = generator_loss(loss, verdict.logits)
        metrics = {"generator_loss": value}
        if verdict.classes is not None:
            value += _class_loss(verdict, labels)
        return value, (statistics, metrics)

    return objective


def _class_loss(verdict: Verdict, labels: Labels) -> Float[Array, ""]:
    if labels is None or verdict.classes is None:
        raise InputError(
            "The discriminator has an auxiliary classifier, and there are no labels: make the model with num_classes."
        )
    return class_loss(verdict.classes, labels)
