"""What every GAN recipe lets its user choose: the game, its losses, its optimizers."""

from dataclasses import dataclass
from typing import Literal

from gen_jax.data import Binarisation
from gen_jax.recipes.experiment import Settings
from gen_jax.train import ScheduleName
from gen_jax.types import InputError


@dataclass(frozen=True, kw_only=True)
class GanSettings(Settings):
    """The game of a GAN."""

    binarise: Binarisation = "none"
    schedule: ScheduleName = "constant"
    loss: Literal["minimax", "non-saturating", "least-squares", "wasserstein", "hinge"] = "non-saturating"
    """What the players minimise, in logits of the discriminator."""
    penalty: Literal["none", "gradient-penalty", "zero-centred", "r1", "r2"] = "none"
    """On the discriminator's gradient: norm 1 or 0 between real and generated examples; 0 at the real ones, or the generated."""
    penalty_weight: float = 10.0
    """Its weight λ (for r1 and r2, γ/2)."""
    clip_weights: float | None = None
    """Move every weight of the discriminator into [−c, c] after each of its steps."""
    num_disc_steps: int = 1
    """Steps of the discriminator, each with its own batch, for one of the generator."""
    simultaneous: bool = False
    """Both players step from where they were, instead of the discriminator first."""
    normalise: Literal["apart", "together"] = "apart"
    """Whether a batch norm of the discriminator sees real and generated examples as two batches or as one."""
    packing: int = 1
    """Examples of one decision of the discriminator (PacGAN)."""
    latent_dim: int = 2
    """Size of z, which is standard normal."""
    learning_rate: float = 1e-4
    disc_learning_rate: float | None = None
    """The discriminator's, where it is not --learning-rate."""
    adam_b1: float = 0.5
    """Decay of Adam's mean of gradients."""

    @property
    def examples_per_step(self) -> int:
        """How many examples a step of the game takes."""
        return self.batch_size * self.num_disc_steps

    def check(self) -> None:
        """Raise an InputError for a value that no game can have."""
        super().check()
        for name in ("num_disc_steps", "packing", "latent_dim"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}: give 1 or more.")
        if self.batch_size % self.packing:
            raise InputError(f"batch_size is {self.batch_size} and packing {self.packing}: give a batch that can be so divided.")
        if not self.penalty_weight >= 0:
            raise InputError(f"penalty_weight is {self.penalty_weight}: give 0 or more.")
        if self.clip_weights is not None and not self.clip_weights > 0:
            raise InputError(f"clip_weights is {self.clip_weights}: give a positive number, or none at all.")
        if self.simultaneous and self.num_disc_steps > 1:
            raise InputError(f"num_disc_steps is {self.num_disc_steps}, and simultaneous players take a step each: give 1.")
        if self.patience is not None:
            raise InputError(f"patience is {self.patience}, and no metric of a GAN says when to stop: leave it out.")
