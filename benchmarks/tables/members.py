"""Rows of a table × seeds as members of one program, for a GPU that one small model does not fill: a `vmap` over parameters.

The members are trained by one `fit`, so that a program that was stopped goes on. They begin as their own runs do and take the
same batches in the same order, each with noise of its own. Rows that differ in their objective alone, of as many samples, share
a program: XLA finds that their objectives draw and decode the same z. What is written is a run folder for each member, as
it is after the last step; `runs.train` then evaluates it.
"""

import dataclasses
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
from gen_jax.train import Fitted, TrainState, fit_keys
from gen_jax.types import Loss

CHECKPOINTS = 20  # of a training


class Members(NamedTuple):
    """Models of the same parameters, which lie along the first axis of the members' own.

    Attributes:
        init: (key, x) -> the members' parameters; each has the key of its own run.
    """

    init: Callable[..., Any]


def groups_of(chosen: dict[str, Any], recipe_of: dict[str, str]) -> list[list[str]]:
    """Return the rows that share a program."""
    groups: dict[Any, list[str]] = {}
    for row, settings in chosen.items():
        objective = getattr(settings, "objective", None)
        rest = settings if objective is None else dataclasses.replace(settings, objective=None)
        groups.setdefault((recipe_of[row], rest, getattr(objective, "num_train_samples", None)), []).append(row)
    return list(groups.values())


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
                runs.write_run(folder_of(row, seed), recipe, of_member, stored, state, losses, seconds)


def train(chosen: list[Any], recipe: str, seeds: int, stored: Dataset, directory: Path) -> Fitted:
    """Train the seeds of every setting, which differ in their objectives alone; the members of a setting come together."""
    settings = chosen[0]
    experiments = [recipes.RECIPES[recipe].build(of_row, stored.event_shape) for of_row in chosen]
    if isinstance(experiments[0].loss, tuple) or settings.clip_norm is not None:
        sys.exit(f"--at-once: {recipe} has two losses, or clips a norm that would be of all members: leave it out.")
    model = experiments[0].model
    keys = jnp.stack([fit_keys(seed_key(seed, RUN)).init for _ in chosen for seed in range(seeds)])
    row_of = jnp.repeat(jnp.arange(len(chosen)), seeds)
    return gen_jax.fit(
        seed_key(settings.seed, RUN),
        Members(lambda key, x: jax.vmap(lambda key: model.init(key, x))(keys)),
        together([experiment.loss for experiment in experiments], row_of),
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


def together(losses: list[Loss], row_of: jax.Array) -> Loss:
    """Return the sum of the members' losses, whose gradient is each one's own; `row_of` says which loss is a member's."""

    def loss(params: Any, state: Any, key: Any, step: Any, batch: Any) -> Any:
        def of_member(params: Any, number: jax.Array, row: jax.Array) -> jax.Array:
            own = jax.random.fold_in(key, number)
            found = [of_row(params, state, own, step, batch)[0] for of_row in losses]
            return sum(jnp.where(row == at, value, 0.0) for at, value in enumerate(found))

        values = jax.vmap(of_member)(params, jnp.arange(len(row_of)), row_of)
        return jnp.sum(values), (state, {f"loss_{number}": value for number, value in enumerate(values)})

    return loss


def member_of(state: TrainState, number: int) -> TrainState:
    """Return the state of one member; scalars are counts of steps, and the key, which all share."""
    own = lambda tree: jax.tree.map(lambda leaf: leaf[number] if leaf.ndim else leaf, tree)
    return state._replace(params=own(state.params), opt_state=own(state.opt_state), ema=own(state.ema))
