"""The losses, penalties, optimizers and steps that the GAN recipes share."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import jax

from gen_jax.data import Binarisation, DataView
from gen_jax.gan import LOSSES, PENALTIES, Augmentation, adversarial_losses
from gen_jax.recipes.experiment import Experiment
from gen_jax.recipes.settings import KIND, Choice, Count, Decay, Fraction, NonNegative, Nothing, Positive, Settings
from gen_jax.train import ScheduleName, Step, adam, clip_weights, learning_rate_schedule, make_game_step, rmsprop
from gen_jax.types import GAN, Adversaries, InputError, Key, Metrics, Params, split

AT_ONCE = 100  # held-out examples on the device at once


class GradientPenalty(Choice, kinds=("gradient-penalty", "zero-centred", "r1", "r2")):
    """A penalty on the gradient: between real and generated examples (norm 1 or 0), at real (r1) or generated (r2) ones."""

    penalty_weight: NonNegative = 10.0
    """Weight λ of the penalty (for r1 and r2, γ/2)."""
    penalty_every: Count = 1
    """Take the penalty at every n-th step only, with n times the weight (lazy regularisation)."""


class Adam(Choice, kinds=("adam",)):
    """Adam."""

    adam_b1: Fraction = 0.5
    """Decay of Adam's mean of gradients."""
    adam_b2: Fraction = 0.999
    """Decay of Adam's mean of squared gradients."""


class RmsProp(Choice, kinds=("rmsprop",)):
    """RMSProp."""

    rms_decay: Decay = 0.99
    """Decay of RMSProp's mean of squared gradients."""


@dataclass(frozen=True, kw_only=True)
class GanSettings(Settings):
    """The losses and the steps of a GAN."""

    binarise: Binarisation = "none"
    schedule: ScheduleName = "constant"
    loss: Literal["minimax", "non-saturating", "least-squares", "wasserstein", "hinge"] = "non-saturating"
    """What generator and discriminator minimise, as functions of the discriminator's logits."""
    penalty: Annotated[Nothing | GradientPenalty, KIND] = Nothing()
    """Penalty on the discriminator's gradient: none, gradient-penalty, zero-centred, r1, r2."""
    drift: NonNegative = 0.0
    """Weight of the mean of the squared discriminator output on real examples, which keeps it near 0."""
    clip_weights: Positive | None = None
    """Clip every weight of the discriminator to [−c, c] after each of its steps."""
    num_disc_steps: Count = 1
    """Discriminator steps for each generator step, each with its own batch."""
    simultaneous: bool = False
    """Update both networks from the same parameters, instead of the discriminator first."""
    disc_batch: Literal["separate", "joint"] = "separate"
    """Whether the discriminator sees (and its batch norm normalises) real and generated examples as two batches or as one."""
    packing: Count = 1
    """Examples that the discriminator sees as one (PacGAN)."""
    latent_dim: Count = 2
    """Size of z, which is standard normal."""
    learning_rate: Positive = 1e-4
    disc_learning_rate: Positive | None = None
    """Learning rate of the discriminator; by default --learning-rate."""
    optimizer: Annotated[Adam | RmsProp, KIND] = Adam()
    """Optimizer of both networks: adam or rmsprop."""

    @property
    def examples_per_step(self) -> int:
        """The number of examples for all discriminator steps of a step."""
        return self.batch_size * self.num_disc_steps

    def check(self) -> None:
        """Raise an InputError for inconsistent values."""
        if self.batch_size % self.packing:
            raise InputError(f"batch_size is {self.batch_size} and packing {self.packing}: give a multiple of packing.")
        if self.simultaneous and self.num_disc_steps > 1:
            raise InputError(
                f"num_disc_steps is {self.num_disc_steps}, and in simultaneous steps each network takes one: give 1."
            )
        if self.patience is not None:
            raise InputError(f"patience is {self.patience}, and no metric of a GAN says when to stop: leave it out.")
        if self.weight_decay and isinstance(self.optimizer, RmsProp):
            raise InputError(f"weight_decay is {self.weight_decay}, and the optimizer is rmsprop: leave it out, or use adam.")


def make_losses(gan: GAN, settings: GanSettings, augmentation: Augmentation | None = None) -> Adversaries:
    """Return the losses of a GAN."""
    penalty, joint = settings.penalty, settings.disc_batch == "joint"
    of_penalty: dict[str, Any] = {}
    if isinstance(penalty, GradientPenalty):
        of_penalty = {"penalty_weight": penalty.penalty_weight, "penalty_every": penalty.penalty_every}
    kind, drift = PENALTIES.get(penalty.kind), settings.drift
    return adversarial_losses(
        gan, LOSSES[settings.loss], kind, joint_batch=joint, drift=drift, augmentation=augmentation, **of_penalty
    )


def optimizers_of(settings: GanSettings) -> Callable[[int], Adversaries]:
    """Return (number of steps) -> the two optimizers."""

    def optimizer(rate: Any, num_steps: int) -> Any:  # a number, or one of many under a `vmap`
        schedule = learning_rate_schedule(settings.schedule, rate, num_steps)
        if isinstance(settings.optimizer, RmsProp):
            return rmsprop(schedule, settings.clip_norm, settings.optimizer.rms_decay)
        return adam(schedule, settings.clip_norm, settings.weight_decay, settings.optimizer.adam_b1, settings.optimizer.adam_b2)

    def optimizers(num_steps: int) -> Adversaries:
        rate = settings.learning_rate if settings.disc_learning_rate is None else settings.disc_learning_rate
        discriminator = optimizer(rate, num_steps * settings.num_disc_steps)
        if settings.clip_weights is not None:
            discriminator = clip_weights(discriminator, settings.clip_weights)
        return Adversaries(optimizer(settings.learning_rate, num_steps), discriminator)

    return optimizers


def step_of(settings: GanSettings) -> Callable[..., Step]:
    """Return `make_game_step` with the settings' options."""
    return functools.partial(make_game_step, num_disc_steps=settings.num_disc_steps, simultaneous=settings.simultaneous)


def held_out_logit(gan: GAN, view: DataView) -> Callable[..., Metrics]:
    """Return (params, key, examples) -> the discriminator's mean logit on held-out examples, `valid_real_logit`.

    Where it is below that of training examples, the discriminator has learned these by heart.
    """

    @jax.jit
    @jax.default_matmul_precision("highest")
    def validate(variables: Params, key: Key, examples: Any) -> Metrics:
        def logit(example: Any) -> Any:
            label = None if gan.num_classes is None else example.labels[None]
            return gan.discriminate(*split(variables), view.example(example.x)[None], label)[0].logits[0]

        return {"valid_real_logit": jax.lax.map(logit, examples, batch_size=AT_ONCE).mean()}

    return validate


def gan_experiment(
    gan: GAN, settings: GanSettings, view: DataView, tasks: tuple[str, ...], validate: Callable[..., Any] | None = None
) -> Experiment:
    """Return the experiment of a GAN, which keeps the latest checkpoint."""
    return Experiment(
        model=gan,
        loss=make_losses(gan, settings),
        optimizer=optimizers_of(settings),
        view=view,
        make_step=step_of(settings),
        validate=validate,
        best_metric=None,
        curves={
            "losses": (("train_discriminator_loss", "train_generator_loss"), "loss"),
            "logits": (("train_real_logit", "train_fake_logit", "valid_real_logit"), "mean logit"),
        },
        tasks=tasks,
    )
