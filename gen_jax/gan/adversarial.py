"""The two losses of a training step of a GAN."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

from gen_jax.gan.augmentation import Augmentation
from gen_jax.gan.latents import draw_latents
from gen_jax.gan.losses import AdversarialLoss, class_loss, discriminator_loss, generator_loss
from gen_jax.gan.model import Labels, pack
from gen_jax.gan.penalties import Penalty
from gen_jax.types import GAN, Adversaries, Array, DiscriminatorOutput, InputError, Key, Loss, Metrics

PROBABILITY = "augmentation_probability"

_LossResult = tuple[Array, tuple[Adversaries, Metrics]]


def adversarial_losses(
    gan: GAN,
    loss: AdversarialLoss,
    penalty: Penalty | None = None,
    penalty_weight: float | Float[Array, ""] = 0.0,
    joint_batch: bool = False,
    penalty_every: int = 1,
    drift: float | Float[Array, ""] = 0.0,
    augmentation: Augmentation | None = None,
) -> Adversaries:
    """Return the losses of generator and discriminator, each a `Loss` of a batch (x, labels).

        discriminator: E[real(D(x))] + E[fake(D(G(z)))] + λ penalty + ε E[D(x)²],        generator: E[generator(D(G(z)))]

    A conditional generator gets the labels of the batch. With an auxiliary classifier, D adds the `class_loss` of real and of
    generated examples, and G that of generated ones. Each loss updates the state of its own network only.

    The penalty, with weight λ, uses the running averages of D's batch norm, so that examples are independent. With
    `penalty_every` n it is part of every n-th step only, with the weight n λ, which is the same in the mean (lazy regularisation,
    Karras et al. 2020, arXiv:1912.04958). The drift ε keeps a Wasserstein D near 0 (Karras et al. 2018, arXiv:1710.10196, A.1).

    An augmentation acts on the real and the generated images that D sees. If it is adaptive, its probability is in D's state,
    under `PROBABILITY`.

    `joint_batch` says whether D takes real and generated examples in one batch, which is faster, or in two. The results differ
    only if D has batch norm or compares the examples of a batch, which then are both, or has spectral norm, which then iterates
    once.

    Raises:
        InputError: when a loss is called, `gan.packing` does not divide the batch.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from gen_jax import data, distributions, gan, nets
        >>> networks = nets.batch_net(nets.MLPGenerator((8,), (2,))), nets.batch_net(nets.MLPDiscriminator((8,)))
        >>> prior = distributions.Normal(jnp.zeros(3), jnp.ones(3))
        >>> model = gan.generative_adversarial_network(*networks, prior)
        >>> params, state = jax.tree.map(jnp.zeros_like, model.init(jax.random.key(0), jnp.zeros(2)))  # D(x) is the logit 0
        >>> losses = gan.adversarial_losses(model, gan.NON_SATURATING)
        >>> arguments = params, state, jax.random.key(1), jnp.int32(0), data.Split(jnp.ones((5, 2)))
        >>> [round(jax.jit(loss)(*arguments)[0].item(), 4) for loss in losses]  # log 2 for G, 2 log 2 for D
        [0.6931, 1.3863]
    """
    terms = (penalty, penalty_weight, penalty_every, drift, augmentation)
    return Adversaries(_generator_loss(gan, loss, augmentation), _discriminator_loss(gan, loss, *terms, joint_batch))


def _discriminator_loss(
    gan: GAN,
    loss: AdversarialLoss,
    penalty: Penalty | None,
    penalty_weight: float | Float[Array, ""],
    penalty_every: int,
    drift: float | Float[Array, ""],
    augmentation: Augmentation | None,
    joint_batch: bool,
) -> Loss:
    def discriminate(
        params: Adversaries, state: Adversaries, real: Array, fake: Array, labels: Labels
    ) -> tuple[DiscriminatorOutput, DiscriminatorOutput, Adversaries]:
        if not joint_batch:
            on_real, state = gan.discriminate(params, state, real, labels, train=True)
            on_fake, state = gan.discriminate(params, state, fake, labels, train=True)
            return on_real, on_fake, state
        x, labels = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), (real, labels), (fake, labels))
        output, state = gan.discriminate(params, state, x, labels, train=True)
        half = len(output.logits) // 2
        return jax.tree.map(lambda a: a[:half], output), jax.tree.map(lambda a: a[half:], output), state

    def discriminator(params: Adversaries, state: Adversaries, key: Key, step: Array, batch: Any) -> _LossResult:
        x, labels = batch
        pack(x, gan.packing)  # raises; else a pack of a joint batch could mix real and generated examples
        z_key, penalty_key, noise_key, *augmentation_keys = jax.random.split(key, 5)
        fake, _ = gan.generate(params, state, noise_key, draw_latents(gan.prior, z_key, len(x)), labels, train=True)
        x, fake = (_augmented(augmentation, state, *row) for row in zip(augmentation_keys, (x, fake), strict=True))
        on_real, on_fake, new_state = discriminate(params, state, x, fake, labels)
        value = discriminator_loss(loss, on_real.logits, on_fake.logits)
        mean_logits = {"real_logit": jnp.mean(on_real.logits), "fake_logit": jnp.mean(on_fake.logits)}
        metrics = {"discriminator_loss": value, **mean_logits}
        if augmentation is not None and augmentation.target is not None:
            probability = augmentation.steer(state.discriminator[PROBABILITY], on_real.logits)
            new_state = new_state._replace(discriminator=new_state.discriminator | {PROBABILITY: probability})
            metrics[PROBABILITY] = probability
        if on_real.classes is not None and on_fake.classes is not None:
            metrics["class_loss"] = class_loss(on_real.classes, labels) + class_loss(on_fake.classes, labels)
            value += metrics["class_loss"]
        if not is_zero(drift):
            value += drift * jnp.mean(on_real.logits**2)
        if penalty is not None:

            def critic(packs: Array) -> Float[Array, "P"]:
                return gan.discriminate(params, state, packs.reshape(x.shape), labels)[0].logits

            real_packs, fake_packs = (a.reshape(-1, gan.packing, *a.shape[1:]) for a in (x, fake))
            due = lambda: penalty_every * penalty(critic, penalty_key, real_packs, fake_packs)
            metrics["penalty"] = due() if penalty_every == 1 else jax.lax.cond(step % penalty_every == 0, due, lambda: 0.0)
            value += penalty_weight * metrics["penalty"]
        return value, (new_state, metrics)

    return discriminator


def _augmented(augmentation: Augmentation | None, state: Adversaries, key: Key, x: Array) -> Array:
    if augmentation is None:
        return x
    if augmentation.target is None:
        return augmentation.apply(key, x, 1.0)
    if not isinstance(state.discriminator, dict) or PROBABILITY not in state.discriminator:
        raise InputError(
            "The augmentation is adaptive, and the discriminator's state has no probability to steer: use a GAN of growing_gan "
            "or style_gan, or an augmentation without a target."
        )
    return augmentation.apply(key, x, state.discriminator[PROBABILITY])


def is_zero(weight: Any) -> bool:
    """Say whether a weight is known to be 0; that of a sweep is not known when the loss is built."""
    return isinstance(weight, float | int) and weight == 0


def _generator_loss(gan: GAN, loss: AdversarialLoss, augmentation: Augmentation | None) -> Loss:
    def generator(params: Adversaries, state: Adversaries, key: Key, step: Array, batch: Any) -> _LossResult:
        x, labels = batch
        z = draw_latents(gan.prior, key, len(x))
        noise_key, augmentation_key = jax.random.split(jax.random.fold_in(key, len(x)))  # differ from all keys of the latents
        fake, new_state = gan.generate(params, state, noise_key, z, labels, train=True)
        fake = _augmented(augmentation, state, augmentation_key, fake)
        output, _ = gan.discriminate(params, state, fake, labels, train=True)
        value = generator_loss(loss, output.logits)
        metrics = {"generator_loss": value}
        if output.classes is not None:
            value += class_loss(output.classes, labels)
        return value, (new_state, metrics)

    return generator
