"""Progressive GANs (Karras et al. 2018, arXiv:1710.10196) and StyleGANs (2019, arXiv:1812.04948; 2020, arXiv:1912.04958).

    gen-jax train progressive-mnist
    gen-jax train stylegan-mnist
    gen-jax train stylegan-mnist --growth stages --fade 4 --stable 4
    gen-jax train stylegan-mnist --augmentation adaptive
    gen-jax train stylegan2-mnist
    gen-jax styles runs/stylegan-mnist
    gen-jax project runs/stylegan-mnist

One core of an Intel Xeon beside another job, seed 0, by classifiers trained here; Fréchet distance and recall on test images:

| recipe | images | seconds | Fréchet | recall |
| --- | --- | --- | --- | --- |
| progressive-mnist | 72,000 | 204 | 5.3 | 0.80 |
| progressive-mnist --growth none | 72,000 | 273 | 3.7 | 0.83 |
| stylegan-mnist | 60,000 | 523 | 5.5 | 0.84 |
| stylegan2-mnist | 60,000 | 495 | 4.9 | 0.80 |
| stylegan-fashion | 86,400 | 571 | 5.2 | 0.44 |
| (a DCGAN with R1) | 495,000 | 546 | 7.1 | 0.67 |
| progressive-cifar10 | 96,000 | 378 | 4.6 | 0.69 |
| stylegan-cifar10 | 96,000 | 608 | 2.1 | 0.77 |
| (a DCGAN with R1) | 360,000 | 607 | 7.7 | 0.61 |
| stylegan-emoji | 55,680 | 1,473 | 11.0 | 0.85 |
| stylegan-emoji --augmentation none | 55,680 | 1,924 | 9.2 | 0.79 |
| stylegan-emoji --augmentation differentiable | 55,680 | 1,467 | 15.8 | 0.78 |

docs/families/style.md says what was tried. The settings were chosen on digits, and on CIFAR-10 the width.

Progressive GANs play the non-saturating game with R1; the paper's is `--loss wasserstein --penalty gradient-penalty
--penalty-weight 10 --penalty-every 1 --drift 0.001`.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import jax.numpy as jnp
from pydantic import Field

from gen_jax import nets
from gen_jax.distributions import Normal
from gen_jax.gan import (
    CHANGES,
    Augmentation,
    GrowingGAN,
    Growth,
    growing_gan,
    growing_losses,
    path_regularised,
    stages_for,
    style_gan,
)
from gen_jax.gan.adversarial import is_zero
from gen_jax.recipes.experiment import Experiment, Recipe, image_shape, view_of
from gen_jax.recipes.gan_choices import Adam, GanSettings, GradientPenalty, gan_experiment, held_out_logit, make_losses, step_of
from gen_jax.recipes.gan_images import check_grey
from gen_jax.recipes.settings import KIND, Choice, Count, NonNegative, Nothing, Positive, change
from gen_jax.train import staged_step
from gen_jax.types import InputError

Probability = Annotated[float, Field(ge=0, le=1)]


class Progressive(Choice, kinds=("progressive",)):
    """Convolutions with pixel norm."""


class Style(Choice, kinds=("style",)):
    """StyleGAN: a mapping network, adaptive instance norm, noise."""

    mapping_layers: Count = 8
    """Layers of the mapping network."""
    mixing: Probability = 0.9
    """Probability that a training example takes a second style from a random layer on."""


class Style2(Style, kinds=("style2",)):
    """Its second version: modulated convolutions, sums of images, a residual discriminator; it does not grow."""

    path_weight: NonNegative = 2.0
    """Weight of the path-length regularisation of the generator."""
    path_every: Count = 4
    """Take it at every n-th step only, with n times the weight."""


class Grow(Choice, kinds=("stages",)):
    """Images of 4 pixels at first, then doubled in stages."""

    fade: Positive = 20.0
    """Thousands of images over which a stage is faded in."""
    stable: Positive = 20.0
    """Thousands of images on which a stage is then trained, before the next one."""
    moments: Literal["fresh", "kept"] = "fresh"
    """Whether optimizers start anew at a stage."""


class Differentiable(Choice, kinds=("differentiable",)):
    """Colour, translation and cutout of all that the discriminator sees."""


class Adaptive(Choice, kinds=("adaptive",)):
    """The same, with a probability that is steered by how sure the discriminator is of training images."""

    target: Probability = 0.6
    """What the mean sign of its output on them is steered towards."""
    thousands: Positive = 100.0
    """Thousands of images that it takes to move the probability from 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class StyleSettings(GanSettings):
    """A progressive GAN or a StyleGAN of square images."""

    architecture: Annotated[Progressive | Style | Style2, KIND] = Progressive()
    """progressive, style or style2."""
    growth: Annotated[Nothing | Grow, KIND] = Grow()
    """Grow in stages, or train at full size from the start (none)."""
    augmentation: Annotated[Nothing | Differentiable | Adaptive, KIND] = Nothing()
    """What is done to real and generated images before the discriminator: none, differentiable or adaptive."""
    width: Count = 8
    """Channels at full size; each stage before has twice as many."""
    max_width: Count = 64
    """The most channels of a stage."""
    compute: Literal["float32", "bfloat16"] = "float32"
    """Type in which the networks compute, from their inputs to images and logits; parameters and losses are float32."""
    num_classes: Count | None = None
    """Condition both networks on labels 0 … N − 1."""
    latent_dim: Count = 64
    batch_size: Count = 32
    epochs: Count = 20
    learning_rate: Positive = 2.5e-3  # the papers' 1e-3 learns much less in so few images: docs/families/style.md
    optimizer: Annotated[Adam, KIND] = Adam(adam_b1=0.0, adam_b2=0.99)
    """Optimizer of both networks."""

    def check(self) -> None:
        """Raise an InputError for values that do not go together."""
        super().check()
        if self.packing > 1:
            raise InputError(f"packing is {self.packing}, and these discriminators compare examples of a batch: leave it out.")
        if self.disc_batch == "joint":
            raise InputError("disc_batch is joint, and these discriminators compare examples of a batch: give separate.")
        if isinstance(self.augmentation, Adaptive) and self.loss in ("wasserstein", "least-squares"):
            raise InputError(
                f"augmentation is adaptive, by the sign of D(x), which says nothing under the loss {self.loss}: give "
                "--augmentation differentiable, or --loss non-saturating, minimax or hinge."
            )
        if not isinstance(self.growth, Grow):
            return
        if isinstance(self.architecture, Style2):
            raise InputError("architecture is style2, which does not grow: give --growth none, or another architecture.")
        if self.growth.moments == "fresh" and self.schedule != "constant":
            raise InputError(
                f"schedule is {self.schedule}, and a schedule starts anew with fresh moments: give --schedule constant, or "
                "--moments kept."
            )


def growth_of(grow: Grow, examples_per_step: int, num_stages: int) -> Growth:
    """Return when a GAN grows, in steps, or raise an InputError for a stage without images."""
    steps = {name: round(1000 * getattr(grow, name) / examples_per_step) for name in ("fade", "stable")}
    for name, num in steps.items():
        if num < 1:
            raise InputError(
                f"{name} is {getattr(grow, name)} thousand images, less than one step of {examples_per_step}: give more, so that "
                "each stage has images."
            )
    return Growth(num_stages, steps["fade"], steps["stable"])


def build(settings: StyleSettings, event_shape: tuple[int, ...]) -> Experiment:
    """Return the experiment for events of the given shape."""
    image = image_shape(event_shape)
    num_stages = stages_for(image[0])
    gan = make_gan(settings, image, num_stages)
    losses_of = lambda gan: make_losses(gan, settings, augmentation_of(settings.augmentation))
    view = view_of(settings, event_shape, check_grey, symmetric=True)
    tasks = ("sample", "interpolate", *(() if gan.whole.style is None else ("styles",)), "animate")
    experiment = gan_experiment(gan.whole, settings, view, tasks, held_out_logit(gan.whole, view))
    if isinstance(settings.growth, Grow):
        growth = growth_of(settings.growth, settings.examples_per_step, num_stages)
        starts = growth.starts if settings.growth.moments == "fresh" else None

        def check_steps(num_steps: int) -> None:
            if num_steps <= growth.num_steps:
                raise InputError(
                    f"The run has {num_steps} steps, and the last of {num_stages} stages is faded in after {growth.num_steps}: "
                    "give more epochs, or fewer thousands of images as --fade and --stable."
                )

        return experiment._replace(
            check_steps=check_steps,
            loss=growing_losses(gan, growth, losses_of),
            make_step=staged_step(step_of(settings), growth.stage, starts),
        )
    losses = losses_of(gan.whole)
    match settings.architecture:
        case Style2(path_weight=weight, path_every=every) if not is_zero(weight):
            losses = losses._replace(generator=path_regularised(losses.generator, gan.whole, weight, every))
    return experiment._replace(loss=losses)


def augmentation_of(choice: Any) -> Augmentation | None:
    """Return the augmentation of a choice."""
    match choice:
        case Differentiable():
            return Augmentation(CHANGES)
        case Adaptive(target=target, thousands=thousands):
            return Augmentation(CHANGES, target, 1000 * thousands)
    return None


def make_gan(settings: StyleSettings, image: tuple[int, int, int], num_stages: int) -> GrowingGAN:
    """Return the model of images of a shape."""
    prior = Normal(jnp.zeros(settings.latent_dim), jnp.ones(settings.latent_dim))
    channels = tuple(min(settings.max_width, settings.width * 2 ** (num_stages - 1 - s)) for s in range(num_stages))
    net = (lambda net: nets.in_bfloat16(nets.batch_net(net))) if settings.compute == "bfloat16" else nets.batch_net
    common = (prior, image, num_stages, settings.num_classes)
    grows = isinstance(settings.growth, Grow)
    discriminator = nets.GrowingDiscriminator(channels, blurred=not isinstance(settings.architecture, Progressive))
    match settings.architecture:
        case Progressive():
            return growing_gan(net(nets.GrowingGenerator(channels, image[2])), net(discriminator), *common, grows=grows)
        case Style2(mapping_layers=num_layers, mixing=mixing):
            synthesis = nets.SkipSynthesis(channels, image[2])
            discriminator = nets.ResidualStyleDiscriminator(channels)
        case Style(mapping_layers=num_layers, mixing=mixing):
            synthesis = nets.StyleSynthesis(channels, image[2])
    mapping = nets.Mapping(settings.latent_dim, num_layers)
    return style_gan(net(mapping), net(synthesis), net(discriminator), *common, mixing=mixing, grows=grows)


PROGRESSIVE = StyleSettings(
    penalty=GradientPenalty(kind="r1", penalty_weight=1.0, penalty_every=4),
    batch_size=16,
    ema_half_life=10.0,
)
# with 8 layers and a mixing probability of 0.9, as in the paper, recall is less after so few images: docs/families/style.md
STYLE = change(PROGRESSIVE, architecture="style", mapping_layers=2, mixing=0.0, growth="none", epochs=15)
# with the paper's regularisation of path lengths, recall is less after 1,250 steps
STYLE2 = change(STYLE, architecture="style2", path_weight=0.0)
ROWS = {
    "progressive-mnist": (
        "a progressive GAN on 5,000 embedded MNIST digits",
        change(PROGRESSIVE, fade=6.0, stable=6.0, epochs=18),
    ),
    "progressive-cifar10": (
        "a progressive GAN on CIFAR-10",
        change(PROGRESSIVE, data="cifar10", fade=6.0, stable=6.0, epochs=10, epoch_steps=600),
    ),
    "stylegan-mnist": ("a StyleGAN on 5,000 embedded MNIST digits", STYLE),
    "stylegan2-mnist": ("StyleGAN 2 on 5,000 embedded MNIST digits", STYLE2),
    "stylegan-fashion": ("a StyleGAN on Fashion-MNIST", change(STYLE, data="fashion_mnist", epochs=9, epoch_steps=600)),
    "stylegan-cifar10": ("a StyleGAN on CIFAR-10", change(STYLE, data="cifar10", epochs=10, epoch_steps=600)),
    "stylegan-emoji": (
        "a StyleGAN with adaptive augmentation on 2,786 emoji of one style",
        change(STYLE, data="emoji:google", augmentation="adaptive", epochs=20),
    ),
}
RECIPES = {name: Recipe(summary, settings, build) for name, (summary, settings) in ROWS.items()}
