"""What every VAE with a density as its posterior lets its user choose: the likelihood and the objective."""

import warnings
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import jax.numpy as jnp
import numpy as np
from pydantic import Field
from tyro.conf import Suppress

from gen_jax.data import DataView, in_unit_interval
from gen_jax.recipes.settings import Choice, Count, NonNegative, NonNegativeInt, Positive, Settings, view_of
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


@dataclass(frozen=True, kw_only=True)
class Bernoulli(Choice):
    """p(x|z) over binary pixels."""

    kind: Suppress[Literal["bernoulli"]] = "bernoulli"


@dataclass(frozen=True, kw_only=True)
class Gaussian(Choice):
    """p(x|z) over real numbers, with a fixed σ."""

    kind: Suppress[Literal["gaussian"]] = "gaussian"
    scale: Positive = 0.1
    """σ, or what it starts from."""


@dataclass(frozen=True, kw_only=True)
class GaussianLearned(Gaussian):
    """p(x|z) over real numbers, with one σ that is learned."""

    kind: Suppress[Literal["gaussian-learned"]] = "gaussian-learned"


@dataclass(frozen=True, kw_only=True)
class DiscretisedLogistic(Choice):
    """p(x|z) over 256 grey values."""

    kind: Suppress[Literal["discretised-logistic"]] = "discretised-logistic"
    scale: Positive = 0.1
    """The scale that the logistic starts from."""


LikelihoodChoice = Annotated[Bernoulli | Gaussian | GaussianLearned | DiscretisedLogistic, Field(discriminator="kind")]


@dataclass(frozen=True, kw_only=True)
class Elbo(Choice):
    """−log p(x|z) + β KL."""

    kind: Suppress[Literal["elbo"]] = "elbo"
    beta: NonNegative = 1.0
    """Weight of the KL: the β of a β-VAE."""
    kl_warmup_steps: NonNegativeInt = 0
    """Steps over which that weight rises from 0."""
    num_train_samples: Count = 1
    """Draws of z for each example, over which its terms are averaged."""


@dataclass(frozen=True, kw_only=True)
class Capacity(Choice):
    """−log p(x|z) + γ |KL − C|."""

    kind: Suppress[Literal["capacity"]] = "capacity"
    gamma: NonNegative = 1000.0
    """Weight γ of |KL − C|."""
    capacity: NonNegative = 25.0
    """Final C, in nats."""
    capacity_steps: Count = 100_000
    """Steps over which C rises from 0."""
    objective_of: Literal["batch-mean", "example"] = "batch-mean"
    """Whether the objective looks at the mean KL of the batch or at each example's."""
    num_train_samples: Count = 1
    """Draws of z for each example, over which its terms are averaged."""


@dataclass(frozen=True, kw_only=True)
class FreeBits(Choice):
    """−log p(x|z) + Σ max(λ, KL of each latent, or layer)."""

    kind: Suppress[Literal["free-bits"]] = "free-bits"
    free_nats: NonNegative = 0.1
    """λ: nats that each latent (or layer) has at no cost."""
    objective_of: Literal["batch-mean", "example"] = "batch-mean"
    """Whether the objective looks at the mean KL of the batch or at each example's."""
    num_train_samples: Count = 1
    """Draws of z for each example, over which its terms are averaged."""


@dataclass(frozen=True, kw_only=True)
class Iwae(Choice):
    """The importance-weighted bound."""

    kind: Suppress[Literal["iwae"]] = "iwae"
    num_train_samples: Count = 1
    """K, draws of z for each example in the bound."""


@dataclass(frozen=True, kw_only=True)
class Dreg(Iwae):
    """The importance-weighted bound, with the doubly reparameterised gradient."""

    kind: Suppress[Literal["dreg"]] = "dreg"


Objective = Elbo | Capacity | FreeBits | Iwae | Dreg
ObjectiveChoice = Annotated[Objective, Field(discriminator="kind")]


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
        if self.patience is not None and annealing_steps(self.objective):
            raise InputError(
                f"patience is {self.patience}, and the objective changes as it is annealed, so that a validation may come out "
                "worse while training goes on well: leave one of the two out."
            )

    def check_steps(self, num_steps: int) -> None:
        """Raise an InputError for annealing that would not end with the run."""
        steps = annealing_steps(self.objective)
        name = "capacity_steps" if isinstance(self.objective, Capacity) else "kl_warmup_steps"
        if steps > num_steps:
            raise InputError(f"{name} is {steps}, and the run has {num_steps} steps: give as many or fewer.")


def annealing_steps(objective: Objective) -> int:
    """Return over how many steps an objective changes."""
    match objective:
        case Elbo(kl_warmup_steps=steps) | Capacity(capacity_steps=steps):
            return steps
        case _:
            return 0


def check_likelihood(settings: Any) -> None:
    """Raise an InputError for a binarisation that gives pixels that are none of the likelihood's."""
    kinds = {DiscretisedLogistic: "a discretised logistic", Gaussian: "a Gaussian density", GaussianLearned: "a Gaussian density"}
    name = kinds.get(type(settings.likelihood))
    if name and settings.binarise != "none":
        raise InputError(f"binarise is {settings.binarise}, and {name} is of grey values: use --binarise none.")


def make_likelihood(choice: Any) -> Likelihood:
    """Return p(x|z) as it was chosen."""
    match choice:
        case Bernoulli():
            return bernoulli_likelihood()
        case DiscretisedLogistic(scale=scale):
            return discretised_logistic_likelihood(scale)
        case gaussian:
            return gaussian_likelihood(gaussian.scale, learned=isinstance(gaussian, GaussianLearned))


def make_loss(vae: VAE, objective: Objective) -> Loss:
    """Return the loss that was chosen."""

    def share(step: Array, steps: int) -> Array | float:
        return jnp.minimum(1.0, step / steps) if steps else 1.0

    match objective:
        case Elbo(beta=beta, kl_warmup_steps=steps):
            weighted = lambda terms, step: negative_elbo(terms, beta * share(step, steps))
            return elbo_loss(vae, weighted, "batch-mean", objective.num_train_samples)
        case FreeBits(free_nats=free_nats):
            free = lambda terms, step: free_bits_objective(terms, free_nats)
            return elbo_loss(vae, free, objective.objective_of, objective.num_train_samples)
        case Capacity(gamma=gamma):
            capacity = lambda step: objective.capacity * jnp.asarray(share(step, objective.capacity_steps))
            held = lambda terms, step: capacity_objective(terms, gamma, capacity(step))
            loss = elbo_loss(vae, held, objective.objective_of, objective.num_train_samples)

            def with_capacity(
                params: Params, state: Params, key: Key, step: Array, batch: Any
            ) -> tuple[Array, tuple[Params, Metrics]]:
                value, (state, metrics) = loss(params, state, key, step, batch)
                return value, (state, metrics | {"capacity": capacity(step)})

            return with_capacity
        case bound:
            return iwae_loss(vae, bound.num_train_samples, doubly_reparameterised=isinstance(bound, Dreg))


def curves_of(objective: Objective) -> dict[str, tuple[tuple[str, ...], str]]:
    """Return which metrics are drawn over epochs."""
    name = "bound" if isinstance(objective, Iwae) else "elbo"
    curves = {"curves": ((f"train_{name}", f"valid_{name}"), "nats")}
    if isinstance(objective, Capacity):
        curves["capacity"] = (("train_capacity", "train_rate", "valid_rate"), "nats")
    return curves


def vae_view(settings: Any, event_shape: tuple[int, ...]) -> DataView:
    """Return how a VAE sees the data; values that its likelihood gives no probability are refused."""

    def check(x: np.ndarray, where: str) -> None:
        if isinstance(settings.likelihood, DiscretisedLogistic):
            levels = x.astype(np.float32) if x.dtype == np.uint8 else 255 * x
            if not (np.abs(levels - levels.round()).max() < 1e-3 and levels.min() >= 0 and levels.max() <= 255):
                raise InputError(f"{where} are not on 256 grey values: give integers in 0…255, or a Gaussian likelihood.")
        elif isinstance(settings.likelihood, Bernoulli) and settings.binarise == "none":
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
