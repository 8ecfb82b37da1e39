"""What every VAE recipe lets its user choose, whatever the model: likelihood, objective, evaluation."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax.numpy as jnp

from gen_jax.recipes.experiment import Settings
from gen_jax.types import VAE, Array, InputError, Key, Metrics, Params
from gen_jax.vae import (
    Likelihood,
    TermsObjective,
    bernoulli_likelihood,
    capacity_objective,
    discretised_logistic_likelihood,
    elbo_loss,
    free_bits_objective,
    gaussian_likelihood,
    iwae_loss,
    negative_elbo,
)

LikelihoodName = Literal["bernoulli", "gaussian", "gaussian-learned", "discretised-logistic"]


@dataclass(frozen=True, kw_only=True)
class LikelihoodSettings(Settings):
    """The likelihood of a VAE."""

    likelihood: LikelihoodName = "bernoulli"
    """p(x|z): Bernoulli; Gaussian with σ = --scale, or with one σ that is learned from there; logistic, over 256 grey values."""
    scale: float = 0.1
    """σ of a Gaussian likelihood, or the scale that a discretised logistic one starts from."""

    def check(self) -> None:
        """Raise an InputError for pixels that are none of the likelihood's."""
        super().check()
        if self.likelihood == "discretised-logistic" and self.binarise != "none":
            raise InputError(f"binarise is {self.binarise}, and a discretised logistic is of grey values: use --binarise none.")
        if self.likelihood.startswith("gaussian") and self.binarise != "none":
            raise InputError(f"binarise is {self.binarise}, and a Gaussian density is of grey values: use --binarise none.")


@dataclass(frozen=True, kw_only=True)
class AnyVaeSettings(LikelihoodSettings):
    """Objective and evaluation of a VAE whose posterior has a density."""

    objective: Literal["elbo", "capacity", "free-bits", "iwae", "dreg"] = "elbo"
    """ELBO with --beta; γ|KL − C|; free bits; the importance-weighted bound, plain or doubly reparameterised."""
    objective_of: Literal["batch-mean", "example"] = "batch-mean"
    """Whether capacity and free bits look at the mean KL of the batch or at each example's."""
    num_train_samples: int = 1
    """K, draws of z for each example in training: averaged by elbo, capacity and free-bits, in the bound of iwae and dreg."""
    beta: float = 1.0
    """Weight of the KL in elbo: the β of a β-VAE."""
    kl_warmup_steps: int = 0
    """Steps over which that weight rises from 0."""
    gamma: float = 1000.0
    """Weight of |KL − C| in capacity."""
    capacity: float = 25.0
    """Final C of capacity, in nats."""
    capacity_steps: int = 100_000
    """Steps over which C rises from 0."""
    free_nats: float = 0.1
    """λ of free-bits: nats that each latent (or layer) has at no cost."""
    num_importance_samples: int = 1000
    """Samples an example for the test NLL at the end of training."""

    def check(self) -> None:
        """Raise an InputError for a value that no VAE can have."""
        super().check()
        for name in ("num_train_samples", "num_importance_samples", "capacity_steps"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}: give 1 or more.")
        for name in ("beta", "kl_warmup_steps", "gamma", "capacity", "free_nats"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"{name} is {getattr(self, name)}: give 0 or more.")
        if self.patience is not None and (self.kl_warmup_steps or self.objective == "capacity"):
            raise InputError(
                f"patience is {self.patience}, and the objective changes as it is annealed, so that a validation may come out "
                "worse while training goes on well: leave one of the two out."
            )
        if self.objective != "elbo" and (self.beta != 1.0 or self.kl_warmup_steps):
            raise InputError(
                f"beta is {self.beta} and kl_warmup_steps {self.kl_warmup_steps}, and the objective is {self.objective}, "
                "which has no weight of the KL: use --beta 1 --kl-warmup-steps 0, or --objective elbo."
            )

    def check_steps(self, num_steps: int) -> None:
        """Raise an InputError for annealing that would not end with the run."""
        name = "capacity_steps" if self.objective == "capacity" else "kl_warmup_steps"
        if getattr(self, name) > num_steps:
            raise InputError(f"{name} is {getattr(self, name)}, and the run has {num_steps} steps: give as many or fewer.")


def make_likelihood(settings: LikelihoodSettings) -> Likelihood:
    """Return p(x|z) as the settings say."""
    match settings.likelihood:
        case "bernoulli":
            return bernoulli_likelihood()
        case "discretised-logistic":
            return discretised_logistic_likelihood(settings.scale)
        case gaussian:
            return gaussian_likelihood(settings.scale, learned=gaussian == "gaussian-learned")


def make_loss(vae: VAE, settings: AnyVaeSettings) -> Callable[..., Any]:
    """Return the batch loss (params, key, step, x, context) -> (value, metrics) that the settings say."""

    def beta(step: Array) -> Array | float:
        return settings.beta * _share(step, settings.kl_warmup_steps)

    def capacity(step: Array) -> Array:
        return settings.capacity * jnp.asarray(_share(step, settings.capacity_steps))

    def of_terms(objective: TermsObjective) -> Callable[..., Any]:
        return elbo_loss(vae, objective, settings.objective_of, settings.num_train_samples)

    match settings.objective:
        case "elbo":
            return of_terms(lambda terms, step: negative_elbo(terms, beta(step)))
        case "free-bits":
            return of_terms(lambda terms, step: free_bits_objective(terms, settings.free_nats))
        case "capacity":
            loss = of_terms(lambda terms, step: capacity_objective(terms, settings.gamma, capacity(step)))

            def with_capacity(params: Params, key: Key, step: Array, x: Array, context: Any = None) -> tuple[Array, Metrics]:
                value, metrics = loss(params, key, step, x, context)
                return value, metrics | {"capacity": capacity(step)}

            return with_capacity
        case bound:
            return iwae_loss(vae, settings.num_train_samples, doubly_reparameterised=bound == "dreg")


def _share(step: Array, steps: int) -> Array | float:
    return jnp.minimum(1.0, step / steps) if steps else 1.0
