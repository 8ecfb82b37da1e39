"""What the generator and the discriminator of a GAN minimise, as the two losses of a step."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

from gen_jax.gan.latents import draw_latents
from gen_jax.gan.losses import AdversarialLoss, class_loss, discriminator_loss, generator_loss
from gen_jax.gan.model import Labels, pack
from gen_jax.gan.penalties import Penalty
from gen_jax.types import GAN, Adversaries, Array, DiscriminatorOutput, InputError, Key, Loss, Metrics


def adversarial_losses(
    gan: GAN,
    loss: AdversarialLoss,
    penalty: Penalty | None = None,
    penalty_weight: float | Float[Array, ""] = 0.0,
    joint_batch: bool = False,
) -> Adversaries:
    """Return the two losses of a GAN, each a `Loss` of a batch with `x` and `labels`.

        discriminator: E[real(D(x))] + E[fake(D(G(z)))] + λ penalty,        generator: E[generator(D(G(z)))]

    The generator is given the labels of the batch, where the model is conditional. An auxiliary classifier adds its `class_loss`:
    for the discriminator on real examples and on generated ones, for the generator on those that it made for the labels. Each
    loss returns the state with its own network's part renewed. Both networks normalise by their batches.

    Args:
        gan: the model.
        loss: functions of a logit.
        penalty: of the discriminator, which normalises by its averages there, so that an example is on its own.
        penalty_weight: λ.
        joint_batch: whether D is applied to real and generated examples as one batch, or to each as a batch of its own. A batch
            norm then normalises otherwise, and a spectral norm iterates once and not twice; to any other D it is the same
            function, and one batch is faster.

    Raises:
        InputError: (where a loss is called) `gan.packing` does not divide the batch.
    """
    return Adversaries(_generator_loss(gan, loss), _discriminator_loss(gan, loss, penalty, penalty_weight, joint_batch))


def _discriminator_loss(
    gan: GAN, loss: AdversarialLoss, penalty: Penalty | None, penalty_weight: float | Float[Array, ""], joint_batch: bool
) -> Loss:
    def outputs(
        params: Adversaries, state: Adversaries, real: Array, fake: Array, labels: Labels
    ) -> tuple[DiscriminatorOutput, DiscriminatorOutput, Adversaries]:
        if not joint_batch:
            of_real, state = gan.discriminate(params, state, real, labels, train=True)
            of_fake, state = gan.discriminate(params, state, fake, labels, train=True)
            return of_real, of_fake, state
        of_both = None if labels is None else jnp.concatenate([labels, labels])
        output, state = gan.discriminate(params, state, jnp.concatenate([real, fake]), of_both, train=True)
        half = len(output.logits) // 2
        of_real, of_fake = (jax.tree.map(lambda a, part=part: a[part], output) for part in (slice(half), slice(half, None)))
        return of_real, of_fake, state

    def of_batch(
        params: Adversaries, state: Adversaries, key: Key, step: Array, batch: Any
    ) -> tuple[Array, tuple[Adversaries, Metrics]]:
        x, labels = batch
        pack(x, gan.packing)  # raises; without it a pack of a joint batch could mix real and generated examples
        z_key, penalty_key, noise_key = jax.random.split(key, 3)
        fake, _ = gan.generate(params, state, noise_key, draw_latents(gan.prior, z_key, len(x)), labels, train=True)
        of_real, of_fake, new_state = outputs(params, state, x, fake, labels)
        value = discriminator_loss(loss, of_real.logits, of_fake.logits)
        metrics = {
            "discriminator_loss": value,
            "real_logit": jnp.mean(of_real.logits),
            "fake_logit": jnp.mean(of_fake.logits),
        }
        if of_real.classes is not None:
            metrics["class_loss"] = _class_loss(of_real, labels) + _class_loss(of_fake, labels)
            value += metrics["class_loss"]
        if penalty is not None:

            def critic(packs: Array) -> Float[Array, "P"]:
                return gan.discriminate(params, state, packs.reshape(x.shape), labels)[0].logits

            real, generated = (a.reshape(-1, gan.packing, *a.shape[1:]) for a in (x, fake))
            metrics["penalty"] = penalty(critic, penalty_key, real, generated)
            value += penalty_weight * metrics["penalty"]
        return value, (new_state, metrics)

    return of_batch


def _generator_loss(gan: GAN, loss: AdversarialLoss) -> Loss:
    def of_batch(
        params: Adversaries, state: Adversaries, key: Key, step: Array, batch: Any
    ) -> tuple[Array, tuple[Adversaries, Metrics]]:
        x, labels = batch
        z = draw_latents(gan.prior, key, len(x))
        noise_key = jax.random.fold_in(key, len(x))  # none of the latents' keys
        fake, new_state = gan.generate(params, state, noise_key, z, labels, train=True)
        output, _ = gan.discriminate(params, state, fake, labels, train=True)
        value = generator_loss(loss, output.logits)
        metrics = {"generator_loss": value}
        if output.classes is not None:
            value += _class_loss(output, labels)
        return value, (new_state, metrics)

    return of_batch


def _class_loss(output: DiscriminatorOutput, labels: Labels) -> Float[Array, ""]:
    if labels is None or output.classes is None:
        raise InputError(
            "The discriminator has an auxiliary classifier, and there are no labels: make the model with num_classes."
        )
    return class_loss(output.classes, labels)
