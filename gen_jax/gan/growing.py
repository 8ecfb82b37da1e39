"""GANs that grow (progressive GAN, Karras et al. 2018, arXiv:1710.10196): a GAN for each stage, of shared parameters.

Training takes the GAN of the stage of its step, compiled for images of that size. The whole is a `GAN` of full-size images:
how far it has grown is one number in its state, the `level`, so that it is shown as it was when training stopped.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from gen_jax.gan.adversarial import PROBABILITY
from gen_jax.gan.latents import draw_latents
from gen_jax.gan.model import Labels, one_hot_labels
from gen_jax.nets import Stage, halve, upsample
from gen_jax.types import GAN, Adversaries, Array, BatchNet, DiscriminatorOutput, Distribution, InputError, Key, Loss, Variables

SMALLEST = 4  # pixels along a side at stage 0


class Growth(NamedTuple):
    """When a GAN grows: each stage but the first is faded in, and then trained further.

    Attributes:
        num_stages: S; stage s has images of 4 · 2^s pixels a side.
        fade_steps: of each stage but the first.
        stable_steps: of each stage but the last, which is trained to the end.
    """

    num_stages: int
    fade_steps: int
    stable_steps: int

    @property
    def num_steps(self) -> int:
        """The steps after which the last stage is faded in."""
        return (self.num_stages - 1) * (self.fade_steps + self.stable_steps)

    def level(self, step: Int[Array, ""]) -> Float[Array, ""]:
        """Return how far the GAN has grown at a step: s − 1 + α while stage s is faded in, and s after that."""
        since = step - self.stable_steps  # the first fade
        period = self.fade_steps + self.stable_steps
        faded = jnp.minimum((jnp.mod(since, period) + 1) / self.fade_steps, 1.0)
        return jnp.where(since < 0, 0.0, jnp.minimum(since // period + faded, self.num_stages - 1.0))

    def stage(self, step: Int[Array, ""]) -> Int[Array, ""]:
        """Return the stage that is trained at a step."""
        return stage_number(self.level(step))

    def starts(self, step: Int[Array, ""]) -> Bool[Array, ""]:
        """Say whether a step is the first one of a stage but stage 0."""
        since = step - self.stable_steps
        period = self.fade_steps + self.stable_steps
        return (since >= 0) & (jnp.mod(since, period) == 0) & (since // period < self.num_stages - 1)


class GrowingGAN(NamedTuple):
    """A GAN that grows.

    Attributes:
        whole: the `GAN` of full-size images, as far as it has grown.
        stages: the GAN of each stage, whose images are of its size; the variables are those of `whole`.
    """

    whole: GAN
    stages: tuple[GAN, ...]


def growing_gan(
    generator: BatchNet,
    discriminator: BatchNet,
    prior: Distribution,
    event_shape: tuple[int, int, int],
    num_stages: int,
    num_classes: int | None = None,
    grows: bool = True,
) -> GrowingGAN:
    """Return a GAN that grows to images of 4 · 2^(S − 1) pixels a side (Karras et al. 2018, arXiv:1710.10196).

    Smaller images, such as 28 × 28 for 32, are padded with −1, and generated ones cropped. What a stage generates has the same
    border, or the discriminator would know images by that.

    Args:
        generator: (z [B, Z], one-hot labels [B, C] or None, `Stage`) -> x [B, P, P, D], of the stage's size.
        discriminator: (x [B, P, P, D], one-hot labels or None, `Stage`) -> `DiscriminatorOutput`.
        prior: p(z).
        event_shape: (height, width, D) of the data.
        num_stages: S.
        num_classes: C, if labels from 0 to C − 1 condition the model; else None.
        grows: whether it does; else `whole` is the last stage, for networks that have no others.

    Raises:
        InputError: images are not square, or stages do not reach their size, or exceed it twofold; for labels as in
            `generative_adversarial_network`.
    """
    check_stages(event_shape, num_stages)
    if num_classes is not None and num_classes < 2:
        raise InputError(f"num_classes is {num_classes}: give 2 or more.")
    context = lambda labels, num: (one_hot_labels(num_classes, labels, num) or (None,))[0]
    last = Stage(num_stages - 1, jnp.ones(()) if grows else None)

    def init(key: Key, x: Array) -> Variables:
        if x.shape != event_shape:
            raise InputError(f"The model is of images {event_shape}, and the data have {x.shape}: make the two agree.")
        generator_key, discriminator_key = jax.random.split(key)
        labels = None if num_classes is None else jnp.zeros(2, jnp.int32)
        z, images = draw_latents(prior, jax.random.key(0), 2), jnp.zeros((2, last.size, last.size, x.shape[-1]))
        parts = (
            generator.init(generator_key, z, context(labels, 2), last),
            discriminator.init(discriminator_key, images, context(labels, 2), last),
        )
        params, state = (Adversaries(*part) for part in zip(*parts, strict=True))
        state = Adversaries(*({"level": jnp.float32(num_stages - 1), "net": net} for net in state))
        return Variables(params, state._replace(discriminator=state.discriminator | {PROBABILITY: jnp.float32(0)}))

    def at(number: int) -> GAN:
        def stage_of(state: dict[str, Any]) -> Stage:
            return Stage(number, alpha_of(number, state["level"]) if grows else None)

        def generate(
            params: Adversaries, state: Adversaries, key: Key, z: Array, labels: Labels = None, train: bool = False
        ) -> tuple[Array, Adversaries]:
            own = state.generator
            stage = stage_of(own)
            x, net = generator.apply(params.generator, own["net"], z, context(labels, len(z)), stage, train=train, key=key)
            return x, state._replace(generator=own | {"net": net})

        def discriminate(
            params: Adversaries, state: Adversaries, x: Array, labels: Labels = None, train: bool = False
        ) -> tuple[DiscriminatorOutput, Adversaries]:
            own = state.discriminator
            output, net = discriminator.apply(
                params.discriminator, own["net"], x, context(labels, len(x)), stage_of(own), train=train
            )
            return output, state._replace(discriminator=own | {"net": net})

        return GAN(init, prior, generate, discriminate, num_classes=num_classes)

    stages = tuple(at(number) for number in range(num_stages))

    def generate(
        params: Adversaries, state: Adversaries, key: Key, z: Array, labels: Labels = None, train: bool = False
    ) -> tuple[Array, Adversaries]:
        def of_stage(number: int) -> tuple[Array, Adversaries]:
            x, after = stages[number].generate(params, state, key, z, labels, train)
            return full_size(x, event_shape), after

        return by_level(of_stage, state.generator["level"], num_stages, grows)

    def discriminate(
        params: Adversaries, state: Adversaries, x: Array, labels: Labels = None, train: bool = False
    ) -> tuple[DiscriminatorOutput, Adversaries]:
        level = state.discriminator["level"]

        def of_stage(number: int) -> tuple[DiscriminatorOutput, Adversaries]:
            seen = at_stage(x, number, num_stages, alpha_of(number, level) if grows else None)
            return stages[number].discriminate(params, state, seen, labels, train)

        return by_level(of_stage, level, num_stages, grows)

    def framed(number: int, generate: Callable[..., Any]) -> Callable[..., Any]:
        def in_border(params: Adversaries, state: Adversaries, *args: Any, **options: Any) -> tuple[Array, Adversaries]:
            x, after = generate(params, state, *args, **options)
            alpha = alpha_of(number, state.generator["level"]) if grows else None
            return in_frame(x, event_shape, number, num_stages, alpha), after

        return in_border

    seen = tuple(stage._replace(generate=framed(number, stage.generate)) for number, stage in enumerate(stages))
    return GrowingGAN(GAN(init, prior, generate, discriminate, num_classes=num_classes), seen)


def growing_losses(gan: GrowingGAN, growth: Growth, losses_of: Callable[[GAN], Adversaries]) -> tuple[Adversaries, ...]:
    """Return the losses of each stage, of full-size real images, which they shrink to its size and fade as generated ones are."""

    def of_stage(number: int, loss: Loss) -> Loss:
        def grown(params: Adversaries, state: Adversaries, key: Key, step: Array, batch: Any) -> Any:
            level, (x, labels) = growth.level(step), batch
            state = Adversaries(*(part | {"level": level} for part in state))
            seen = at_stage(x, number, growth.num_stages, alpha_of(number, level))
            value, (after, metrics) = loss(params, state, key, step, (seen, labels))
            return value, (after, {**metrics, "level": level})

        return grown

    return tuple(Adversaries(*(of_stage(number, loss) for loss in losses_of(stage))) for number, stage in enumerate(gan.stages))


def stage_number(level: Float[Array, ""]) -> Int[Array, ""]:
    """Return the stage that is trained at a level."""
    return jnp.ceil(level).astype(jnp.int32)


def alpha_of(number: int, level: Float[Array, ""]) -> Float[Array, ""]:
    """Return the share α of a stage at a level that is between the stage before and this one."""
    return level - (number - 1) if number else jnp.ones(())


def by_level(of_stage: Callable[[int], Any], level: Float[Array, ""], num_stages: int, grows: bool) -> Any:
    """Return of_stage(number) for the stage of this level; for the last one, if the GAN does not grow."""
    if not grows:
        return of_stage(num_stages - 1)
    return jax.lax.switch(stage_number(level), [functools.partial(of_stage, number) for number in range(num_stages)])


def at_stage(
    x: Float[Array, "B H W D"], number: int, num_stages: int, alpha: Float[Array, ""] | None = None
) -> Float[Array, "B P P D"]:
    """Return full-size images as a stage sees them: padded with −1, halved to its size, and blended by α with half that size."""
    missing = SMALLEST * 2 ** (num_stages - 1) - x.shape[1]
    low, high = missing // 2, missing - missing // 2
    x = jnp.pad(x, ((0, 0), (low, high), (low, high), (0, 0)), constant_values=-1)
    for _ in range(num_stages - 1 - number):
        x = halve(x)
    if number == 0 or alpha is None:
        return x
    return alpha * x + (1 - alpha) * upsample(halve(x))


def in_frame(
    x: Float[Array, "B P P D"], event_shape: tuple[int, int, int], number: int, num_stages: int, alpha: Float[Array, ""] | None
) -> Float[Array, "B P P D"]:
    """Return images of a stage with the border that `at_stage` gives real ones: m x − (1 − m), m the share of a pixel inside."""
    if event_shape[0] == SMALLEST * 2 ** (num_stages - 1):
        return x
    inside = 1 + at_stage(jnp.zeros((1, *event_shape[:2], 1)), number, num_stages, alpha)
    return inside * x - (1 - inside)


def full_size(x: Float[Array, "B P P D"], event_shape: tuple[int, int, int]) -> Float[Array, "B H W D"]:
    """Return images of a stage doubled to at least the size of the data, by nearest neighbours, and cropped to it."""
    while x.shape[1] < event_shape[0]:
        x = upsample(x)
    low = (x.shape[1] - event_shape[0]) // 2
    return x[:, low : low + event_shape[0], low : low + event_shape[1]]


def check_stages(event_shape: tuple[int, int, int], num_stages: int) -> None:
    """Raise an InputError for images that are not square, and for a number of stages that is not that of their size."""
    height, width, _ = event_shape
    if height != width:
        raise InputError(f"Images are {height} x {width}, and a GAN that grows from 4 x 4 makes square ones: crop or pad them.")
    if num_stages != stages_for(height):
        raise InputError(
            f"{num_stages} stages reach {SMALLEST * 2 ** (num_stages - 1)} pixels, and the images have {height}: give "
            f"{stages_for(height)} stages."
        )


def stages_for(size: int) -> int:
    """Return the number of stages from 4 pixels to at least `size`."""
    return 1 + max(0, math.ceil(math.log2(size / SMALLEST)))
