"""CycleGAN: translation between two domains A and B, learned without pairs (Zhu et al. 2017, arXiv:1703.10593).

G: A → B and F: B → A, with a discriminator of each domain. An example of the data is one image [H, W, C_A + C_B]: the channels of
an image of A, and then those of one of B, which need not be partners.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from gen_jax.gan.losses import LEAST_SQUARES, AdversarialLoss, discriminator_loss, generator_loss
from gen_jax.gan.pool import draw_from_pool, empty_pool
from gen_jax.types import Adversaries, Array, InputError, Key, Loss, Metrics, Net, Variables

Direction = Literal["a-to-b", "b-to-a"]
DIRECTIONS: tuple[Direction, Direction] = ("a-to-b", "b-to-a")
DOMAINS = ("a", "b")
_LossResult = tuple[Array, tuple[Adversaries, Metrics]]
_ROUTES: tuple[tuple[Direction, Direction, str], ...] = (("a-to-b", "b-to-a", "b"), ("b-to-a", "a-to-b", "a"))
"""There, back, and the domain between."""

CYCLE_LOSS: AdversarialLoss = LEAST_SQUARES._replace(generator=lambda logit: (logit - 1) ** 2)
"""½(l − 1)², ½l², (l − 1)²: least squares, where D's loss is halved and G's is not (§7.1), so that λ is the paper's."""


class CycleGAN(NamedTuple):
    """A pair of translations with their discriminators. Networks act on each image alone, so functions take one or a batch.

    `params` are `Adversaries`: of the generators by `Direction`, of the discriminators by domain, "a" and "b". The state is that
    of the discriminators: the `Pool` of each domain, or () without pools.

    Attributes:
        init: (key, x [H, W, C_A + C_B]) -> `Variables`.
        translate: (params, x [*batch, H, W, C], direction) -> [*batch, H, W, C'].
        discriminate: (params, x [*batch, H, W, C], domain) -> logits of patches [*batch, P, Q].
        channels: C_A and C_B.
    """

    init: Callable[..., Variables]
    translate: Callable[..., Array]
    discriminate: Callable[..., Array]
    channels: tuple[int, int]

    def domains(self, x: Float[Array, "*batch H W C"]) -> tuple[Array, Array]:
        """Return the images of A and those of B."""
        return x[..., : self.channels[0]], x[..., self.channels[0] :]


def cycle_gan(
    generators: tuple[Net, Net], discriminators: tuple[Net, Net], channels: tuple[int, int], pool_size: int = 50
) -> CycleGAN:
    """Return a CycleGAN (Zhu et al. 2017, arXiv:1703.10593).

    Args:
        generators: G: A → B, and F: B → A, each (x [*batch, H, W, C]) -> [*batch, H, W, C'].
        discriminators: of A and of B, each (x [*batch, H, W, C]) -> logits of patches [*batch, P, Q].
        channels: C_A and C_B.
        pool_size: images in the pool of each domain, or 0 for none.

    Raises:
        InputError: at `init`, an example has other channels, or a generator makes images of another shape than its domain's.
    """
    generator_of = dict(zip(DIRECTIONS, generators, strict=True))
    discriminator_of = dict(zip(DOMAINS, discriminators, strict=True))

    def init(key: Key, x: Float[Array, "H W C"]) -> Variables:
        if x.ndim != 3 or x.shape[2] != sum(channels):
            raise InputError(f"An example has shape {x.shape}, and the two domains have {channels} channels: make these agree.")
        images = x[..., : channels[0]], x[..., channels[0] :]
        generator_keys, discriminator_keys = jax.random.split(key, (2, 2))
        params = Adversaries(
            {name: generator_of[name].init(*row) for name, *row in zip(DIRECTIONS, generator_keys, images, strict=True)},
            {name: discriminator_of[name].init(*row) for name, *row in zip(DOMAINS, discriminator_keys, images, strict=True)},
        )
        for direction, source, target in zip(DIRECTIONS, images, images[::-1], strict=True):
            made = jax.eval_shape(generator_of[direction].apply, params.generator[direction], source).shape
            if made != target.shape:
                raise InputError(f"The generator {direction} makes images of shape {made}, and not {target.shape}: change it.")
        pools = {name: empty_pool(pool_size, of.shape) for name, of in zip(DOMAINS, images, strict=True)}
        return Variables(params, Adversaries((), pools if pool_size else ()))

    def translate(params: Adversaries, x: Float[Array, "*batch H W C"], direction: Direction) -> Float[Array, "*batch H W C2"]:
        return generator_of[direction].apply(params.generator[direction], x)

    def discriminate(params: Adversaries, x: Float[Array, "*batch H W C"], domain: str) -> Float[Array, "*batch P Q"]:
        return discriminator_of[domain].apply(params.discriminator[domain], x)

    return CycleGAN(init, translate, discriminate, channels)


def cycle_losses(
    model: CycleGAN,
    loss: AdversarialLoss = CYCLE_LOSS,
    cycle_weight: float | Float[Array, ""] = 10.0,
    identity_weight: float | Float[Array, ""] = 0.0,
) -> Adversaries:
    """Return the losses of generators and discriminators, each a `Loss` of a batch (x, labels), for a step of `make_game_step`.

        generators:     E[g(D_B(G(a)))] + E[g(D_A(F(b)))] + λ (E|F(G(a)) − a| + E|G(F(b)) − b|) + λ_id (E|G(b) − b| + E|F(a) − a|)
        discriminators: E[r(D_B(b))] + E[f(D_B(G(a)))] + E[r(D_A(a))] + E[f(D_A(F(b)))]

    with r, f, g those of `loss`. Means are over images, pixels, channels and patches. The translations in the second line come
    through the pools. λ_id is λ/2 where the paper has this loss. Labels are not used.

    Raises:
        InputError: an identity loss of domains with different channels.
    """
    has_identity = not (isinstance(identity_weight, float | int) and identity_weight == 0)
    if has_identity and model.channels[0] != model.channels[1]:
        raise InputError(
            f"identity_weight is {identity_weight}, and the domains have {model.channels[0]} and {model.channels[1]} channels: a "
            "generator cannot keep an image of the other domain as it is. Give 0."
        )

    def generators(params: Adversaries, state: Adversaries, key: Key, step: Array, batch: Any) -> _LossResult:
        adversarial, cycle, identity = jnp.zeros(()), jnp.zeros(()), jnp.zeros(())
        images = model.domains(batch.x)
        for (there, back, domain), source, target in zip(_ROUTES, images, images[::-1], strict=True):
            # images are on their own: one batch of both is faster than two
            fake = model.translate(params, jnp.concatenate([source, target]) if has_identity else source, there)
            if has_identity:
                fake, kept = jnp.split(fake, 2)
                identity += _distance(kept, target)
            adversarial += generator_loss(loss, model.discriminate(params, fake, domain).ravel())
            cycle += _distance(model.translate(params, fake, back), source)
        value = adversarial + cycle_weight * cycle + identity_weight * identity
        metrics = {"generator_loss": adversarial, "cycle_loss": cycle}
        return value, (state, metrics | ({"identity_loss": identity} if has_identity else {}))

    return Adversaries(generators, _discriminator_loss(model, loss))


def _discriminator_loss(model: CycleGAN, loss: AdversarialLoss) -> Loss:
    def discriminators(params: Adversaries, state: Adversaries, key: Key, step: Array, batch: Any) -> _LossResult:
        value, real, fake, pools = jnp.zeros(()), jnp.zeros(()), jnp.zeros(()), {}
        images = model.domains(batch.x)
        for (there, _, domain), pool_key, source, target in zip(
            _ROUTES, jax.random.split(key), images, images[::-1], strict=True
        ):
            made = model.translate(params, source, there)
            if state.discriminator:
                made, pools[domain] = draw_from_pool(state.discriminator[domain], pool_key, made)
            logits = model.discriminate(params, jnp.concatenate([target, made]), domain)
            on_real, on_fake = (half.ravel() for half in jnp.split(logits, 2))
            value += discriminator_loss(loss, on_real, on_fake)
            real, fake = real + jnp.mean(on_real) / 2, fake + jnp.mean(on_fake) / 2
        metrics = {"discriminator_loss": value, "real_logit": real, "fake_logit": fake}
        return value, (state._replace(discriminator=pools or ()), metrics)

    return discriminators


def _distance(x: Array, y: Array) -> Float[Array, ""]:
    return jnp.mean(jnp.abs(x - y))
