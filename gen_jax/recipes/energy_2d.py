"""A flow fitted to an unnormalised density e^{−U(z)} in the plane, without data (Rezende & Mohamed 2015, arXiv:1505.05770, §6.1).

    gen-jax train energy-2d
    gen-jax train energy-2d --data toy:two-sines

Training takes 6 s on two CPU cores: KL(q ‖ p) 0.009 ± 0.001 nats to the ring, 0.036 ± 0.005 to the two sines (3 seeds).

The ELBO, E_q[−log q(z) − U(z)] ≤ log ∫ e^{−U}, is maximised over draws of the flow itself. Exact draws of the target, which the
data set of the energy's name holds, are used for evaluation only.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax import plots
from gen_jax.data import ENERGIES, Binarisation, Split
from gen_jax.distributions import Normal
from gen_jax.evaluate import kl_on_grid, log_on_grid, mean_and_standard_error, square_grid
from gen_jax.flows import Transformed, flow_density
from gen_jax.recipes.density_experiment import PIXELS, PLANE
from gen_jax.recipes.experiment import Evaluation, Experiment, Recipe, Settings, minimise
from gen_jax.recipes.flows import FlowName, make_flow
from gen_jax.types import Array, InputError, Key, Metrics, Params

GRID_BOUND, GRID_POINTS = 10.0, 1000  # for the quadrature


@dataclass(frozen=True, kw_only=True)
class EnergySettings(Settings):
    """A flow from a standard normal distribution to e^{−U}."""

    data: str = "toy:ring"
    """The energy: toy:ring, toy:sine, toy:two-sines or toy:sine-step."""
    binarise: Binarisation = "none"
    epochs: int = 100
    batch_size: int = 250
    learning_rate: float = 2e-3
    clip_norm: float | None = 10.0
    validate_every: int = 5
    flow: FlowName = "planar"
    """Kind of layer."""
    num_layers: int = 32
    """Layers."""
    hidden_sizes: tuple[int, ...] = (64, 64)
    """Widths of the network in a coupling or autoregressive layer."""
    num_units: int = 2
    """Units of a Sylvester layer."""
    annealing_steps: int = 10_000
    """Steps over which the energy grows to its full weight, from 0.01 of it."""

    def check(self) -> None:
        """Raise an InputError for a value that no experiment can have."""
        super().check()
        if self.binarise != "none":
            raise InputError(f"binarise is {self.binarise}, and a flow is a density of real numbers: use --binarise none.")

    def check_steps(self, num_steps: int) -> None:
        """Raise an InputError for annealing that would not end with the run."""
        if not 1 <= self.annealing_steps <= num_steps:
            raise InputError(f"annealing_steps is {self.annealing_steps}, and the run has {num_steps} steps: give 1 to as many.")


def build(settings: EnergySettings, event_shape: tuple[int, ...]) -> Experiment:
    """Return the experiment that the settings describe."""
    name = settings.data.removeprefix("toy:")
    if name not in ENERGIES:
        raise InputError(f"data is {settings.data}: give one of {', '.join(f'toy:{known}' for known in ENERGIES)}.")
    energy, base = ENERGIES[name], Normal(jnp.zeros(2), jnp.ones(2))
    bijection = make_flow(settings.flow, 2, settings.num_layers, settings.hidden_sizes, settings.num_units)
    model = flow_density(base, bijection)

    def terms(params: Params, key: Key) -> tuple[Array, Array]:
        """Return log q(z) and U(z) at one draw of the flow."""
        z, log_q = Transformed(base, bijection, params).sample_and_log_prob(key)
        return log_q, energy(z)

    def loss(params: Params, key: Key, step: Array, batch: Split) -> tuple[Array, Metrics]:
        log_q, u = jax.vmap(terms, in_axes=(None, 0))(params, jax.random.split(key, len(batch.images)))
        weight = jnp.minimum(1.0, 0.01 + step / settings.annealing_steps)  # as in the paper
        return jnp.mean(log_q + weight * u), {"elbo": jnp.mean(-log_q - u)}

    @jax.jit
    @jax.default_matmul_precision("highest")
    def validate(params: Params, key: Key, split: Split) -> Metrics:
        log_q, u = jax.vmap(terms, in_axes=(None, 0))(params, jax.random.split(key, len(split.images)))
        return {"valid_elbo": jnp.mean(-log_q - u)}

    @functools.partial(jax.jit, static_argnums=2)
    @jax.default_matmul_precision("highest")
    def sample(params: Params, key: Key, num: int) -> Array:
        return jax.vmap(functools.partial(model.sample, params))(jax.random.split(key, num))

    @jax.jit
    @jax.default_matmul_precision("highest")
    def log_prob(params: Params, points: Array) -> Array:
        return log_on_grid(functools.partial(model.log_prob, params), points)

    def evaluate(
        params: Params, key: Key, split: Split, split_name: str, num_samples: int | None, on_progress: Callable[[int, int], None]
    ) -> Evaluation:
        if num_samples is not None:
            raise InputError("num_importance_samples is given, and this model's density is exact: leave it out.")
        num = len(split.images)
        log_probs = np.asarray(log_prob(params, jnp.asarray(split.images)))
        points, cell = square_grid(GRID_BOUND, GRID_POINTS)
        kl, log_z, mass = kl_on_grid(log_prob(params, points), -log_on_grid(energy, points), cell)
        nll, nll_se = mean_and_standard_error(-log_probs)
        on_progress(num, num)
        summary = {"kl": kl, "log_z": log_z, "mass_on_grid": mass, f"{split_name}_nll": nll, f"{split_name}_nll_se": nll_se}
        return Evaluation(summary | {"num_examples": num}, {"index": np.arange(num), "log_prob": log_probs})

    def figures(params: Params, key: Key, test: Split, rows: list[dict[str, Any]]) -> dict[str, Any]:
        points, _ = square_grid(PLANE, PIXELS)
        square = lambda log_density: np.exp(np.asarray(log_density)).reshape(PIXELS, PIXELS)
        panels = [
            ("target $e^{-U}$", square(-log_on_grid(energy, points))),
            ("density of the flow", square(log_prob(params, points))),
            ("samples", sample(params, key, 5000)),
        ]
        curves = plots.loss_curves(rows, ["train_elbo", "valid_elbo"], "ELBO (nats)")
        return {"samples": plots.plane(panels, PLANE), "curves": curves}

    def check_points(images: np.ndarray, where: str) -> None:
        if images.shape[1:] != (2,) or images.dtype != np.float32:
            raise InputError(
                f"{where} are {images.dtype}{images.shape[1:]} each, and an energy's are points of the plane: float32(2,)."
            )

    return Experiment(
        training=minimise(settings, model.init, loss),
        validate=validate,
        best_metric="valid_elbo",
        check=check_points,
        evaluate=evaluate,
        sample=sample,
        picture=lambda samples: plots.plane([("samples", samples)], PLANE),
        figures=figures,
    )


RECIPE = Recipe("a planar flow fitted to an energy in the plane, without data", EnergySettings(), build)
