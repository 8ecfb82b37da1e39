"""Rows of a table × seeds as members of one program, for a GPU that one small model does not fill: a `vmap` over parameters.

The members are trained by one `fit`, so that a program that was stopped goes on. They begin as their own runs do and take the
same batches in the same order, each with noise of its own. A VAE and an IWAE of as many samples share a program too, since both
objectives are of the same log w_k: the mean, or log of the mean of w; the VAE's KL is then by its samples. What is written is a
run folder for each member, as it is after the last step, whose `train_seconds` are its share; `runs.train` then evaluates it.
"""

import dataclasses
import math
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import gen_jax
from gen_jax import recipes, runs
from gen_jax.data import Dataset, load_dataset
from gen_jax.recipes.experiment import as_seen
from gen_jax.recipes.settings import RUN, seed_key
from gen_jax.recipes.vae_choices import Elbo, Iwae
from gen_jax.train import Fitted, TrainState, fit_keys
from gen_jax.types import VAE, Loss
from gen_jax.vae import log_weight

CHECKPOINTS = 20  # of a training


class Members(NamedTuple):
    """Models of the same parameters, which lie along the first axis of the members' own.

    Attributes:
        init: (key, x) -> the members' parameters; each has the key of its own run.
    """

    init: Callable[..., Any]


def groups_of(chosen: dict[str, Any], recipe_of: dict[str, str]) -> list[list[str]]:
    """Return the rows that share a program: each alone, but for those that differ in being a VAE or an IWAE."""
    groups: dict[Any, list[str]] = {}
    for row, settings in chosen.items():
        if is_iwae(settings) is None:
            groups[row] = [row]
        else:
            rest = dataclasses.replace(settings, objective=Elbo())
            groups.setdefault((recipe_of[row], rest, settings.objective.num_train_samples), []).append(row)
    return list(groups.values())


def is_iwae(settings: Any) -> bool | None:
    """Say whether settings are of an IWAE or of a VAE without a warm-up; None for anything else."""
    objective = getattr(settings, "objective", None)
    if isinstance(objective, Iwae):
        return True if objective.kind == "iwae" else None
    return False if objective is not None and objective == Elbo(num_train_samples=objective.num_train_samples) else None


def prepare(rows: dict[str, tuple[str, Any]], chosen: dict[str, Any], seeds: int, folder_of: Callable[[str, int], Path]) -> None:
    """Train all members of each group and write their run folders, where these are not there yet; end where a signal came."""
    for group in groups_of(chosen, {row: rows[row][0] for row in chosen}):
        members = [(row, seed) for row in group for seed in range(seeds)]
        if all(folder_of(*member).exists() for member in members):
            continue
        recipe, settings = rows[group[0]][0], chosen[group[0]].with_whole_names()
        stored = load_dataset(settings.data, "none")
        directory = folder_of("+".join([*group, "members"]), seeds)
        fitted = train([chosen[row] for row in group], recipe, seeds, stored, directory)
        if not fitted.finished:
            print("left:", ", ".join(group))
            sys.exit(130)
        seconds = sum(row["seconds"] for row in fitted.history) / len(members)
        for number, (row, seed) in enumerate(members):
            if not folder_of(row, seed).exists():
                of_member = dataclasses.replace(chosen[row].with_whole_names(), seed=seed)
                losses = {"loss": jnp.array([epoch[f"train_loss_{number}"] for epoch in fitted.history])}
                state = member_of(fitted.state, number)
                partial = folder_of(row, seed).with_suffix(".partial")  # a folder that is half written would be trained anew
                shutil.rmtree(partial, ignore_errors=True)
                runs.write_run(partial, recipe, of_member, stored, state, losses, seconds)
                partial.rename(folder_of(row, seed))


def train(chosen: list[Any], recipe: str, seeds: int, stored: Dataset, directory: Path) -> Fitted:
    """Train the seeds of every setting, which differ in their objectives alone; the members of a setting come together."""
    settings = chosen[0]
    experiments = [recipes.RECIPES[recipe].build(of_row, stored.event_shape) for of_row in chosen]
    if isinstance(experiments[0].loss, tuple) or settings.clip_norm is not None:
        sys.exit(f"--at-once: {recipe} has two losses, or clips a norm that would be of all members: leave it out.")
    model = experiments[0].model
    keys = jnp.stack([fit_keys(seed_key(seed, RUN)).init for _ in chosen for seed in range(seeds)])
    if len(chosen) == 1:
        loss = lambda share, *arguments: experiments[0].loss(*arguments)
    else:
        loss = weighted_bound(model, settings.objective.num_train_samples)
    shares = jnp.repeat(jnp.array([float(is_iwae(of_row) or False) for of_row in chosen]), seeds)
    return gen_jax.fit(
        seed_key(settings.seed, RUN),
        Members(lambda key, x: jax.vmap(lambda key: model.init(key, x))(keys)),
        together(loss, shares),
        as_seen(stored, settings, experiments[0]),
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        epoch_steps=settings.epoch_steps,
        optimizer=experiments[0].optimizer,
        ema_decay=settings.average_decay,
        validate=lambda params, key, examples: {},
        best_metric=None,
        validate_every=max(1, settings.epochs // CHECKPOINTS),
        directory=directory,
    )


def weighted_bound(vae: VAE, num_samples: int) -> Callable[..., Any]:
    """Return (a, arguments of a `Loss`) -> its result, for a share a from 0, a VAE, to 1, an IWAE.

    It is −mean of (1 − a) (1/K) Σ_k log w_k + a log (1/K) Σ_k w_k.
    """

    def loss(share: jax.Array, params: Any, state: Any, key: Any, step: Any, batch: Any) -> Any:
        def bound(key: Any, x: jax.Array, context: Any) -> jax.Array:
            keys = jax.random.split(key, num_samples)
            log_w = jax.vmap(lambda k: log_weight(vae, params, k, x, context))(keys)
            of_iwae = jax.nn.logsumexp(log_w) - math.log(num_samples)
            return (1 - share) * jnp.mean(log_w) + share * of_iwae

        value = -jnp.mean(jax.vmap(bound)(jax.random.split(key, len(batch.x)), batch.x, batch.labels))
        return value, (state, {})

    return loss


def together(loss: Callable[..., Any], shares: jax.Array) -> Loss:
    """Return the sum of (share, arguments of a `Loss`) -> its result over members, of which the gradient is each one's own."""

    def of_all(params: Any, state: Any, key: Any, step: Any, batch: Any) -> Any:
        def of_member(params: Any, number: jax.Array, share: jax.Array) -> jax.Array:
            return loss(share, params, state, jax.random.fold_in(key, number), step, batch)[0]

        values = jax.vmap(of_member)(params, jnp.arange(len(shares)), shares)
        return jnp.sum(values), (state, {f"loss_{number}": value for number, value in enumerate(values)})

    return of_all


def member_of(state: TrainState, number: int) -> TrainState:
    """Return the state of one member; scalars are counts of steps, and the key, which all share."""
    own = lambda tree: jax.tree.map(lambda leaf: leaf[number] if leaf.ndim else leaf, tree)
    return state._replace(params=own(state.params), opt_state=own(state.opt_state), ema=own(state.ema))
