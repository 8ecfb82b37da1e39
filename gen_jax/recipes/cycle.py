r"""CycleGAN: translation between two domains, learned without pairs (Zhu et al. 2017, arXiv:1703.10593).

    gen-jax train cyclegan
    gen-jax translate runs/cyclegan --direction b-to-a
    gen-jax train cyclegan --data-a folder:horses --data-b folder:zebras --width 64 --num-halvings 2 --num-blocks 9 \
        --cycle-weight 10 --identity-weight 5
    GEN_JAX_DATA_DIR=DIR gen-jax train cyclegan-emoji

`cyclegan`: 70 s of training on one core of an AMD EPYC (two seeds). From edges to digits, on 500 test pairs: L1
0.036 ± 0.003 (images as they are 0.143, the mean image 0.151), SSIM 0.87 (0.22, 0.11), Fréchet distance 1.4 (41.7); from digits
to edges: L1 0.040 ± 0.001, SSIM 0.90, Fréchet distance 1.0 (34.8). With the paper's weights of the losses, `--cycle-weight 10
--identity-weight 5`: L1 0.098 ± 0.001 and 0.106 ± 0.002.

`cyclegan-emoji`: 33 min on one core of an Intel Xeon that did other work too (seed 0), and sized for longer on a GPU. From one
style to the other, on 500 test pairs: L1 0.169 ± 0.003 and 0.162 ± 0.003 (images as they are 0.173), median rank of the partner
7 and 5 (8 and 5), Fréchet distance 2.4 and 2.5 (0.7 and 2.7), SSIM 0.30 and 0.28 (0.33): colours change a little, shapes do not.

A step trains the discriminators first, and then the generators against them; the authors' code does the opposite.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from gen_jax.data import PAIR, Binarisation, absolute_name, domain_channels, has_partners
from gen_jax.gan import cycle_gan, cycle_losses
from gen_jax.nets import PatchDiscriminator, TranslationGenerator
from gen_jax.recipes.experiment import Experiment, Recipe, image_shape, view_of
from gen_jax.recipes.gan_images import check_grey
from gen_jax.recipes.settings import Count, Fraction, NonNegative, NonNegativeInt, Positive, Settings
from gen_jax.train import ScheduleName, adam, learning_rate_schedule
from gen_jax.types import Adversaries, InputError


@dataclass(frozen=True, kw_only=True)
class CycleSettings(Settings):
    """A CycleGAN."""

    data: str = "edges:mnist-5k"
    """Data of two domains: emoji, edges:NAME, grey:NAME, inverted:NAME, pair:NAME,NAME."""
    data_a: str | None = None
    """Data set of the domain A, in place of --data: any images; with --data-b."""
    data_b: str | None = None
    """Data set of the domain B."""
    binarise: Binarisation = "none"
    epochs: Count = 6
    batch_size: Count = 4
    learning_rate: Positive = 2e-4
    schedule: ScheduleName = "linear-after-half"
    adam_b1: Fraction = 0.5
    """Decay of Adam's mean of gradients."""
    width: Count = 8
    """Channels of the generators' first layer; 64 in the paper."""
    num_halvings: NonNegativeInt = 1
    """How often the generators halve an image; 2 in the paper."""
    num_blocks: Count = 3
    """Residual blocks of the generators; 6 or 9 in the paper."""
    disc_width: Count = 16
    """Channels of the discriminators' first layer; 64 in the paper."""
    disc_halvings: Count = 1
    """Layers of stride 2 of the discriminators: a logit for patches of 16, 34 or 70 (the paper's) pixels a side for 1, 2 or 3."""
    cycle_weight: NonNegative = 10.0
    """Weight λ of the distance (L1) of an image to its cycle, there and back."""
    identity_weight: NonNegative | None = None
    """Weight of the change (L1) of an image that is of the target domain already; by default λ/2, or 0 if channels differ."""
    pool_size: NonNegativeInt = 50
    """Translations of earlier steps that are kept to be shown to each discriminator again; 0 for none."""

    def with_whole_names(self) -> "CycleSettings":
        """Return the settings with the data sets of A and B as one name, which means the same from any folder."""
        both = self.data if self.data_a is None else f"{PAIR}{self.data_a},{self.data_b}"
        return dataclasses.replace(self, data=absolute_name(both), data_a=None, data_b=None)

    def check(self) -> None:
        """Raise an InputError for inconsistent values."""
        if (self.data_a is None) != (self.data_b is None):
            given, missing = ("data_b", "data_a") if self.data_a is None else ("data_a", "data_b")
            raise InputError(f"{given} is {getattr(self, given)}, and {missing} is missing: give both, or data alone.")
        if self.data_a is not None and self.data != CycleSettings.data:
            raise InputError(f"data is {self.data}, and data_a is {self.data_a}: give one of the two.")
        if not has_partners(self.data) and not self.data.startswith(PAIR):
            raise InputError(
                f"data is {self.data}, which are not of two domains: give emoji, edges:NAME, grey:NAME, inverted:NAME, or two "
                "data sets as data_a and data_b."
            )
        if self.patience is not None:
            raise InputError(f"patience is {self.patience}, and no metric of a CycleGAN says when to stop: leave it out.")


def build(settings: CycleSettings, event_shape: tuple[int, ...]) -> Experiment:
    """Return the experiment for events of the given shape."""
    *_, total = image_shape(event_shape)
    channels = domain_channels(total)
    a_to_b, b_to_a = (
        TranslationGenerator(of, settings.width, settings.num_halvings, settings.num_blocks) for of in channels[::-1]
    )
    discriminator = PatchDiscriminator(settings.disc_width, settings.disc_halvings)
    model = cycle_gan((a_to_b, b_to_a), (discriminator, discriminator), channels, settings.pool_size)
    half = settings.cycle_weight / 2 if channels[0] == channels[1] else 0.0
    identity_weight = half if settings.identity_weight is None else settings.identity_weight
    return Experiment(
        model=model,
        loss=cycle_losses(model, cycle_weight=settings.cycle_weight, identity_weight=identity_weight),
        optimizer=_optimizers(settings),
        view=view_of(settings, event_shape, check_grey, symmetric=True),
        best_metric=None,
        curves={
            "losses": (("train_discriminator_loss", "train_generator_loss"), "loss"),
            "distances": (("train_cycle_loss", "train_identity_loss"), "L1, sum of both directions"),
            "logits": (("train_real_logit", "train_fake_logit"), "mean logit"),
        },
        tasks=("translate",),
    )


def _optimizers(settings: CycleSettings) -> Callable[[int], Adversaries]:
    def optimizers(num_steps: int) -> Adversaries:
        schedule = learning_rate_schedule(settings.schedule, settings.learning_rate, num_steps)
        optimizer = adam(schedule, settings.clip_norm, settings.weight_decay, settings.adam_b1)
        return Adversaries(optimizer, optimizer)

    return optimizers


ROWS = {
    "cyclegan": (
        "a CycleGAN between the edges of 5,000 embedded MNIST digits and the digits",
        CycleSettings(cycle_weight=2.0, identity_weight=0.0),
    ),
    "cyclegan-emoji": (
        "a CycleGAN between two styles of emoji",
        CycleSettings(data="emoji", width=16, num_halvings=2, num_blocks=4, disc_width=32, disc_halvings=2),
    ),
}
RECIPES = {name: Recipe(summary, settings, build) for name, (summary, settings) in ROWS.items()}
