"""The likelihoods and objectives that the VAE recipes share."""

import warnings
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax import vae as models
from gen_jax.data import DataView, in_unit_interval
from gen_jax.nets import MLP
from gen_jax.recipes.experiment import Experiment, adam_of, view_of
from gen_jax.recipes.settings import KIND, Choice, Count, NonNegative, NonNegativeInt, Positive, Settings, Sizes
from gen_jax.train import adam, validation
from gen_jax.types import VAE, Adversaries, Array, InputError, Key, Loss, Metrics, Params


class Bernoulli(Choice, kinds=("bernoulli",)):
    """p(x|z) over binary pixels."""


class ScaledLikelihood(Choice, kinds=("gaussian", "gaussian-learned", "discretised-logistic")):
    """p(x|z) over real numbers (Gaussian) or 256 grey values (discretised logistic)."""

    scale: Positive = 0.1
    """Scale of the likelihood, or its initial value where it is learned."""


class Objective(Choice):
    """The settings of every objective."""

    num_train_samples: Count = 1
    """Samples of z for each example: the terms are averaged over them, or they are the K of a bound."""


class Elbo(Objective, kinds=("elbo",)):
    """−log p(x|z) + β KL."""

    beta: NonNegative = 1.0
    """Weight of the KL: the β of a β-VAE."""
    kl_warmup_steps: NonNegativeInt = 0
    """Steps over which that weight rises from 0."""


class FreeBits(Objective, kinds=("free-bits",)):
    """−log p(x|z) + Σ max(λ, KL of each latent, or layer)."""

    free_nats: NonNegative = 0.1
    """λ: nats that each latent (or layer) has at no cost."""
    objective_of: Literal["batch-mean", "example"] = "batch-mean"
    """Whether the objective is a function of the mean KL of the batch or of each example's KL."""


class Capacity(Objective, kinds=("capacity",)):
    """−log p(x|z) + γ |KL − C|."""

    gamma: NonNegative = 1000.0
    """Weight γ of |KL − C|."""
    capacity: NonNegative = 25.0
    """Final C, in nats."""
    capacity_steps: Count = 100_000
    """Steps over which C rises from 0."""
    huber_width: NonNegative = 0.0
    """Nats from C within which |KL − C| is rounded, as the pseudo-Huber loss is; 0 for the paper's."""
    objective_of: Literal["batch-mean", "example"] = "batch-mean"
    """Whether the objective is a function of the mean KL of the batch or of each example's KL."""


class Iwae(Objective, kinds=("iwae", "dreg")):
    """The importance-weighted bound; dreg has the doubly reparameterised gradient."""


class TotalCorrelation(Choice, kinds=("tcvae",)):
    """−ELBO + w TC, the total correlation of the batch (β-TCVAE with β = 1 + w)."""

    tc_weight: NonNegative = 5.0
    """Weight of the total correlation, beyond its 1 in the ELBO."""


class Dip(Choice, kinds=("dip-i",)):
    """−ELBO + λ_od Σ_{i≠j} C_ij² + λ_d Σ_i (C_ii − 1)², of the covariance C of posterior means (DIP-VAE-I)."""

    off_diagonal_weight: NonNegative = 10.0
    """λ_od."""
    diagonal_weight: NonNegative = 100.0
    """λ_d."""


class DipOfDraws(Dip, kinds=("dip-ii",)):
    """−ELBO + λ_od Σ_{i≠j} C_ij² + λ_d Σ_i (C_ii − 1)², of the covariance C of draws of z (DIP-VAE-II)."""

    diagonal_weight: NonNegative = 10.0
    """λ_d."""


class Factor(Choice, kinds=("factor",)):
    """−ELBO + w TC, the total correlation by a discriminator of z (FactorVAE with γ = w)."""

    tc_weight: NonNegative = 35.0
    """Weight of the total correlation, beyond its 1 in the ELBO."""
    disc_hidden_sizes: Sizes = (1000,) * 6
    """Widths of the hidden layers of the discriminator."""
    disc_learning_rate: Positive = 1e-4
    """Learning rate of the discriminator."""


LikelihoodChoice = Annotated[Bernoulli | ScaledLikelihood, KIND]
OfLatents = TotalCorrelation | Dip | DipOfDraws | Factor
"""Objectives that take one vector of latents, independent given x."""
ObjectiveChoice = Annotated[Elbo | Capacity | FreeBits | Iwae | OfLatents, KIND]


@dataclass(frozen=True, kw_only=True)
class LikelihoodSettings(Settings):
    """A model with a decoder p(x|z)."""

    likelihood: LikelihoodChoice = Bernoulli()
    """p(x|z): bernoulli, gaussian, gaussian-learned, discretised-logistic."""

    def check(self) -> None:
        """Raise an InputError for a binarisation whose pixels have no density under the likelihood."""
        kind = self.likelihood.kind
        if kind != "bernoulli" and self.binarise != "none":
            name = "a discretised logistic" if kind == "discretised-logistic" else "a Gaussian density"
            raise InputError(f"binarise is {self.binarise}, and {name} is of grey values: use --binarise none.")


@dataclass(frozen=True, kw_only=True)
class ObjectiveSettings(LikelihoodSettings):
    """A VAE whose posterior has a density."""

    objective: ObjectiveChoice = Elbo()
    """What is minimised: elbo, capacity, free-bits, iwae, dreg; of one vector of latents: tcvae, dip-i, dip-ii, factor."""
    num_importance_samples: Count = 1000
    """Importance samples for each example, for the test NLL at the end of training."""

    def check(self) -> None:
        """Raise an InputError for inconsistent values."""
        super().check()
        if self.patience is not None and any(_annealing(self.objective).values()):
            raise InputError(
                f"patience is {self.patience}, and the objective is annealed, so that a validation may come out worse while "
                "training goes on well: leave one of the two out."
            )

    def check_steps(self, num_steps: int) -> None:
        """Raise an InputError for annealing that would take longer than the run."""
        for name, steps in _annealing(self.objective).items():
            if steps > num_steps:
                raise InputError(f"{name} is {steps}, and the run has {num_steps} steps: give as many or fewer.")


def _annealing(objective: Any) -> dict[str, int]:
    """The settings that hold a number of annealing steps."""
    return {name: getattr(objective, name) for name in ("kl_warmup_steps", "capacity_steps") if hasattr(objective, name)}


def make_likelihood(likelihood: Bernoulli | ScaledLikelihood) -> models.Likelihood:
    """Return p(x|z)."""
    if isinstance(likelihood, Bernoulli):
        return models.bernoulli_likelihood()
    if likelihood.kind == "discretised-logistic":
        return models.discretised_logistic_likelihood(likelihood.scale)
    return models.gaussian_likelihood(likelihood.scale, learned=likelihood.kind == "gaussian-learned")


def make_loss(objective: Any, vae: VAE) -> Loss | Adversaries:
    """Return the loss of a VAE, of a FactorVAE the two of its game; that of a capacity reports C."""
    num_samples = objective.num_train_samples if isinstance(objective, Objective) else 1
    match objective:
        case TotalCorrelation(tc_weight=weight):
            return models.elbo_loss(vae, penalty=models.total_correlation_penalty(weight))
        case Dip(off_diagonal_weight=off_diagonal, diagonal_weight=diagonal):
            of = "draws" if isinstance(objective, DipOfDraws) else "means"
            return models.elbo_loss(vae, penalty=models.covariance_penalty(off_diagonal, diagonal, of))
        case Factor(tc_weight=weight):
            return models.factor_losses(vae, _discriminator(objective), weight)
        case Elbo(beta=beta, kl_warmup_steps=steps):
            weighted = lambda terms, step: models.negative_elbo(terms, beta * _share(step, steps))
            return models.elbo_loss(vae, weighted, "batch-mean", num_samples)
        case FreeBits(free_nats=free_nats, objective_of=objective_of):
            free = lambda terms, step: models.free_bits_objective(terms, free_nats)
            return models.elbo_loss(vae, free, objective_of, num_samples)
        case Iwae():
            return models.iwae_loss(vae, num_samples, doubly_reparameterised=objective.kind == "dreg")
        case Capacity(gamma=gamma, huber_width=width, objective_of=objective_of):
            capacity = lambda step: objective.capacity * jnp.asarray(_share(step, objective.capacity_steps))
            held = lambda terms, step: models.capacity_objective(terms, gamma, capacity(step), width)
            loss = models.elbo_loss(vae, held, objective_of, num_samples)

    def with_capacity(params: Params, state: Params, key: Key, step: Array, batch: Any) -> tuple[Array, tuple[Params, Metrics]]:
        value, (state, metrics) = loss(params, state, key, step, batch)
        return value, (state, metrics | {"capacity": capacity(step)})

    return with_capacity


def _share(step: Array, steps: int) -> Array | float:
    return jnp.minimum(1.0, step / steps) if steps else 1.0


def vae_experiment(vae: VAE, settings: ObjectiveSettings, event_shape: tuple[int, ...]) -> Experiment:
    """Return the experiment of a VAE whose posterior has a density."""
    name = "bound" if isinstance(settings.objective, Iwae) else "elbo"
    curves = {"curves": ((f"train_{name}", f"valid_{name}"), "nats")}
    if isinstance(settings.objective, Capacity):
        curves["capacity"] = (("train_capacity", "train_rate", "valid_rate"), "nats")
    experiment = Experiment(
        model=vae,
        loss=make_loss(settings.objective, vae),
        optimizer=adam_of(settings),
        view=vae_view(settings, event_shape),
        curves=curves,
        tasks=("reconstruct", "sample", "latents"),
        evaluation={"num_importance_samples": settings.num_importance_samples},
    )
    if isinstance(settings.objective, Factor):
        return _as_game(experiment, settings.objective, settings.batch_size)
    return experiment


def _as_game(experiment: Experiment, objective: Factor, batch_size: int) -> Experiment:
    """Return the experiment of a FactorVAE, whose discriminator is trained beside it."""
    of_vae, of_discriminator = experiment.optimizer, adam(objective.disc_learning_rate, b1=0.5)
    of_both: Any = experiment.loss
    return experiment._replace(
        model=models.with_discriminator(experiment.model, _discriminator(objective)),
        optimizer=lambda num_steps: Adversaries(of_vae(num_steps), of_discriminator),
        validate=validation(of_both.generator, experiment.view, experiment.model, batch_size),
        best_metric=None,  # the penalty changes with the discriminator, and scores of two epochs are not of one thing
        curves={**experiment.curves, "discriminator": (("train_discriminator_loss",), "loss")},
    )


def _discriminator(objective: Factor) -> MLP:
    return MLP(objective.disc_hidden_sizes, (1,), jax.nn.leaky_relu)


def vae_view(settings: LikelihoodSettings, event_shape: tuple[int, ...]) -> DataView:
    """Return the view of the data, which refuses values that have no probability under the likelihood."""

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
                    "the reported NLL is not one. Use --binarise dynamic, or a Gaussian likelihood.",
                    stacklevel=2,
                )

    return view_of(settings, event_shape, check)
