"""What every VAE with a density as its posterior lets its user choose: the likelihood and the objective."""

import warnings
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import jax.numpy as jnp
import numpy as np

from gen_jax.data import DataView, in_unit_interval
from gen_jax.recipes.settings import (
    KIND,
    Choice,
    Count,
    Experiment,
    NonNegative,
    NonNegativeInt,
    Positive,
    Settings,
    adam_of,
    choice,
    view_of,
)
from gen_jax.types import VAE, Array, InputError, Key, Loss, Metrics, Params
from gen_jax.vae import (
    Likelihood,
    bernoulli_likelihood,
    capacity_objective,
    discretised_logistic_likelihood,
    elbo_loss,
    free_bits_objective,
    gaussian_likelihood,
    iwae_loss,
    negative_elbo,
)


@choice("bernoulli")
class Bernoulli(Choice):
    """p(x|z) over binary pixels."""

    def make(self) -> Likelihood:
        """Return p(x|z)."""
        return bernoulli_likelihood()


@choice("gaussian")
class Gaussian(Choice):
    """p(x|z) over real numbers, with a fixed σ."""

    scale: Positive = 0.1
    """σ of a Gaussian, or the scale that training starts from."""

    def make(self) -> Likelihood:
        """Return p(x|z)."""
        return gaussian_likelihood(self.scale, learned=self.kind == "gaussian-learned")


@choice("gaussian-learned")
class GaussianLearned(Gaussian):
    """p(x|z) over real numbers, with one σ that is learned."""


@choice("discretised-logistic")
class DiscretisedLogistic(Gaussian):
    """p(x|z) over 256 grey values."""

    def make(self) -> Likelihood:
        """Return p(x|z)."""
        return discretised_logistic_likelihood(self.scale)


@choice("elbo")
class Elbo(Choice):
    """−log p(x|z) + β KL."""

    beta: NonNegative = 1.0
    """Weight of the KL: the β of a β-VAE."""
    kl_warmup_steps: NonNegativeInt = 0
    """Steps over which that weight rises from 0."""
    num_train_samples: Count = 1
    """Draws of z for each example: over which terms are averaged, or K of a bound."""

    @property
    def annealing_steps(self) -> int:
        """Steps over which the objective changes."""
        return self.kl_warmup_steps

    def make(self, vae: VAE) -> Loss:
        """Return the loss."""
        weighted = lambda terms, step: negative_elbo(terms, self.beta * _share(step, self.kl_warmup_steps))
        return elbo_loss(vae, weighted, "batch-mean", self.num_train_samples)


@choice("free-bits")
class FreeBits(Choice):
    """−log p(x|z) + Σ max(λ, KL of each latent, or layer)."""

    free_nats: NonNegative = 0.1
    """λ: nats that each latent (or layer) has at no cost."""
    objective_of: Literal["batch-mean", "example"] = "batch-mean"
    """Whether the objective looks at the mean KL of the batch or at each example's."""
    num_train_samples: Count = 1
    """Draws of z for each example: over which terms are averaged, or K of a bound."""

    annealing_steps = 0

    def make(self, vae: VAE) -> Loss:
        """Return the loss."""
        free = lambda terms, step: free_bits_objective(terms, self.free_nats)
        return elbo_loss(vae, free, self.objective_of, self.num_train_samples)


@choice("capacity")
class Capacity(Choice):
    """−log p(x|z) + γ |KL − C|."""

    gamma: NonNegative = 1000.0
    """Weight γ of |KL − C|."""
    capacity: NonNegative = 25.0
    """Final C, in nats."""
    capacity_steps: Count = 100_000
    """Steps over which C rises from 0."""
    objective_of: Literal["batch-mean", "example"] = "batch-mean"
    """Whether the objective looks at the mean KL of the batch or at each example's."""
    num_train_samples: Count = 1
    """Draws of z for each example: over which terms are averaged, or K of a bound."""

    @property
    def annealing_steps(self) -> int:
        """Steps over which the objective changes."""
        return self.capacity_steps

    def make(self, vae: VAE) -> Loss:
        """Return the loss, which reports C."""
        capacity = lambda step: self.capacity * jnp.asarray(_share(step, self.capacity_steps))
        held = lambda terms, step: capacity_objective(terms, self.gamma, capacity(step))
        loss = elbo_loss(vae, held, self.objective_of, self.num_train_samples)

        def with_capacity(
            params: Params, state: Params, key: Key, step: Array, batch: Any
        ) -> tuple[Array, tuple[Params, Metrics]]:
            value, (state, metrics) = loss(params, state, key, step, batch)
            return value, (state, metrics | {"capacity": capacity(step)})

        return with_capacity


@choice("iwae")
class Iwae(Choice):
    """The importance-weighted bound."""

    num_train_samples: Count = 1
    """Draws of z for each example: over which terms are averaged, or K of a bound."""

    annealing_steps = 0

    def make(self, vae: VAE) -> Loss:
        """Return the loss."""
        return iwae_loss(vae, self.num_train_samples, doubly_reparameterised=self.kind == "dreg")


@choice("dreg")
class Dreg(Iwae):
    """The importance-weighted bound, with the doubly reparameterised gradient."""


def _share(step: Array, steps: int) -> Array | float:
    return jnp.minimum(1.0, step / steps) if steps else 1.0


LikelihoodChoice = Annotated[Bernoulli | Gaussian | GaussianLearned | DiscretisedLogistic, KIND]
ObjectiveChoice = Annotated[Elbo | Capacity | FreeBits | Iwae | Dreg, KIND]


@dataclass(frozen=True, kw_only=True)
class DensityVaeSettings(Settings):
    """Likelihood, objective and evaluation of a VAE whose posterior has a density."""

    likelihood: LikelihoodChoice = Bernoulli()
    """p(x|z): bernoulli, gaussian, gaussian-learned, discretised-logistic."""
    objective: ObjectiveChoice = Elbo()
    """What is minimised: elbo, capacity, free-bits, iwae, dreg."""
    num_importance_samples: Count = 1000
    """Samples an example for the test NLL at the end of training."""

    def check(self) -> None:
        """Raise an InputError for values that do not go together."""
        check_likelihood(self)
        if self.patience is not None and self.objective.annealing_steps:
            raise InputError(
                f"patience is {self.patience}, and the objective changes as it is annealed, so that a validation may come out "
                "worse while training goes on well: leave one of the two out."
            )

    def check_steps(self, num_steps: int) -> None:
        """Raise an InputError for annealing that would not end with the run."""
        steps, name = self.objective.annealing_steps, "capacity_steps" if self.objective.kind == "capacity" else "kl_warmup_steps"
        if steps > num_steps:
            raise InputError(f"{name} is {steps}, and the run has {num_steps} steps: give as many or fewer.")


def check_likelihood(settings: Any) -> None:
    """Raise an InputError for a binarisation that gives pixels that are none of the likelihood's."""
    kind = settings.likelihood.kind
    if kind != "bernoulli" and settings.binarise != "none":
        name = "a discretised logistic" if kind == "discretised-logistic" else "a Gaussian density"
        raise InputError(f"binarise is {settings.binarise}, and {name} is of grey values: use --binarise none.")


def vae_experiment(vae: VAE, settings: DensityVaeSettings, event_shape: tuple[int, ...]) -> Experiment:
    """Return the experiment of a VAE whose posterior has a density."""
    name = "bound" if isinstance(settings.objective, Iwae) else "elbo"
    curves = {"curves": ((f"train_{name}", f"valid_{name}"), "nats")}
    if settings.objective.kind == "capacity":
        curves["capacity"] = (("train_capacity", "train_rate", "valid_rate"), "nats")
    return Experiment(
        model=vae,
        loss=settings.objective.make(vae),
        optimizer=adam_of(settings),
        view=vae_view(settings, event_shape),
        curves=curves,
        tasks=("reconstruct", "sample", "latents"),
        evaluation={"num_importance_samples": settings.num_importance_samples},
    )


def vae_view(settings: Any, event_shape: tuple[int, ...]) -> DataView:
    """Return how a VAE sees the data; values that its likelihood gives no probability are refused."""

    def check(x: np.ndarray, where: str) -> None:
        if settings.likelihood.kind == "discretised-logistic":
            levels = x.astype(np.float32) if x.dtype == np.uint8 else 255 * x
            if not (np.abs(levels - levels.round()).max() < 1e-3 and levels.min() >= 0 and levels.max() <= 255):
                raise InputError(f"{where} are not on 256 grey values: give integers in 0…255, or a Gaussian likelihood.")
        elif settings.likelihood.kind == "bernoulli" and settings.binarise == "none":
            if not in_unit_interval(x):
                raise InputError(
                    f"{where} range from {x.min():g} to {x.max():g}, and a Bernoulli likelihood takes values in [0, 1]: "
                    "scale them, or use --likelihood gaussian."
                )
            if not np.isin(x, (0, 255 if x.dtype == np.uint8 else 1)).all():
                warnings.warn(
                    "The examples are grey, and a Bernoulli likelihood of grey values is a cross-entropy, not a log-likelihood: "
                    "what is reported as NLL is not one. Use --binarise dynamic, or a Gaussian likelihood.",
                    stacklevel=2,
                )

    return view_of(settings, event_shape, check)
