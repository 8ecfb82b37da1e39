"""A study: trials of settings in one folder, by one process or several, stopped and gone on with, and a run of the best."""

import contextlib
import logging
import math
import shutil
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gen_jax import plots, runs
from gen_jax.data import load_dataset
from gen_jax.recipes import Recipe, change, check_settings, find_recipe
from gen_jax.recipes.experiment import as_seen
from gen_jax.recipes.own import UNNAMED, full_name
from gen_jax.recipes.settings import settings_json
from gen_jax.train import (
    LOCK_FILE,
    NonFiniteError,
    folder_lock,
    write_json,
    write_whole,
)
from gen_jax.tune.space import Space, Vary, as_json, checked, corners, distributions, propose, values_of
from gen_jax.types import InputError, is_out_of_memory

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

STUDY_FILE = "study.db"
MADE_BY = "made_by"  # of a study: what its trials are comparable by


class _NoMetricError(InputError):
    """With the settings of a trial, validation does not report the metric of the study."""


class Tuned(NamedTuple):
    """A study whose trials have all been taken.

    Attributes:
        rows: of each trial its number, state, metric, epochs, settings that are varied, and why it ended early.
        metric: of validation data, by which settings are chosen; larger is better.
        settings: the best ones.
        result: of the best run, what `runs.train` returned; None while another process has a trial to end.
    """

    rows: list[dict[str, Any]]
    metric: str
    settings: Any
    result: dict[str, Any] | None


class _Plan(NamedTuple):
    """What the trials of a study have in common."""

    recipe: str | Recipe
    settings: Any
    space: Space
    metric: str
    directory: Path
    made_by: dict[str, Any]

    def of_trial(self, trial: "FrozenTrial") -> Any:
        """Return the settings of a trial."""
        return change(self.settings, **values_of(self.space, trial.params))

    def folder(self, number: int) -> Path:
        """Return the run folder of a trial."""
        return self.directory / "trials" / str(number)


def tune(
    recipe: str | Recipe,
    settings: Any = None,
    *,
    vary: Vary,
    out: Path | str,
    trials: int = 20,
    on_epoch: Callable[[int, dict[str, Any]], None] = lambda trial, row: None,
    on_trial: Callable[[dict[str, Any]], None] = lambda row: None,
    on_evaluation: Callable[[int, int], None] = lambda done, total: None,
) -> Tuned | None:
    """Choose settings of a recipe by a metric of validation data, and make a run of the best; None if a signal came.

        tuned = tune("vae", vary={"hidden_sizes": [(64,), (128, 64)], "latent_dim": Range(2, 50, log=True)}, out="runs/vae-tune")

    A trial is a run of `runs.fit`, all under the same seed, whose value is the metric of the checkpoint that the run keeps:
    `valid_elbo` where there is one (a score is of its own objective), else the recipe's. It is pruned at a validation where its
    best so far is below the median of what the trials had there that ran to their ends (Golovin et al. 2017), once there are five
    of them, and not in the first third of its epochs, in which the order of trials is another one. Settings are drawn by
    `space.propose`. Test data are used once, by the run of the best settings when all trials have ended.

    The folder holds `study.db` (Optuna's SQLite storage), `trials/` with a run folder of each trial that ran to its end, `best/`
    with the run of the best settings, `trials.json` and `trials.png`. The same call goes on with it, and with a trial that was
    stopped or killed from its last checkpoint, so that the study is the one that was not stopped. With more `trials` it goes on
    further. Several processes may do so at once.

    Args:
        recipe: a `Recipe`, or its name.
        settings: those that are not varied; by default the recipe's own.
        vary: by their flat names the settings that are, and of each a `Range` or the values to choose from.
        out: the folder of the study.
        trials: in all. There are fewer where every combination of values was tried.
        on_epoch: called with the number of a trial and each epoch's row of metrics.
        on_trial: called with the row of each trial that this process ends.
        on_evaluation: as `runs.train` has it.

    Raises:
        InputError: a setting or a value that a run cannot have, a recipe without a metric that orders runs, a folder of something
            else or of another study, no trial that came to its end, Optuna is not installed, or a trial's run folder cannot be
            used: the same call goes on with that trial.
    """
    _check_installed()
    if trials < 1:
        raise InputError(f"trials is {trials}: give 1 or more.")
    plan = _planned(recipe, settings, vary, Path(out))
    with _no_chatter():
        study = _opened(plan)
        while (claimed := _claim(plan, study, trials)) is not None:
            trial, lock = claimed
            try:
                if not _run(plan, study, trial, on_epoch):
                    return None
                on_trial(_rows(plan, study)[trial.number])
            finally:
                lock.release()
        return _concluded(plan, study, on_evaluation)


def _check_installed() -> None:
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise InputError("Tuning needs Optuna: pip install '.[tune]', in gen_jax's source folder.") from error


def _planned(recipe: str | Recipe, settings: Any, vary: Vary, directory: Path) -> _Plan:
    """Return what trials have in common, or raise an InputError for a value that a run cannot have."""
    found = find_recipe(recipe)
    settings = (found.settings if settings is None else settings).with_whole_names()
    space = checked(settings, vary)
    stored = load_dataset(settings.data, "none", stream=settings.stream)
    for values in corners(space):
        changed = change(settings, **values)
        check_settings(changed)
        found.build(changed, stored.event_shape)  # raises for what it cannot be
    metric = _metric(found, change(settings, **corners(space)[0]), stored)
    made_by = {
        "recipe": full_name(recipe) if isinstance(recipe, str) else UNNAMED,
        "vary": as_json(space),
        "settings": settings_json(settings),
        "metric": metric,
        "data": stored.fingerprints(),
    }
    return _Plan(recipe, settings, space, metric, directory, made_by)


def _metric(recipe: Recipe, settings: Any, stored: Any) -> str:
    """Return the metric of validation data that orders the runs of a recipe, or raise an InputError where none does."""
    experiment = recipe.build(settings, stored.event_shape)
    found = runs.validation_names(experiment, settings, as_seen(stored, settings, experiment)) or ()
    none = experiment.validate is None and isinstance(experiment.loss, tuple)
    metric = None if none else experiment.compared_by(found)
    if metric is None:
        raise InputError(
            "This recipe has no metric of validation data by which one run is better than another, as a game has none: tune a "
            "recipe that minimises a loss."
        )
    return metric


@contextlib.contextmanager
def _no_chatter() -> Generator[None]:
    """Keep Optuna from logging what the caller is told."""
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(level)


@contextlib.contextmanager
def _alone(directory: Path) -> Generator[None]:
    """Keep the other processes of a study waiting."""
    lock = folder_lock(directory)
    lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _opened(plan: _Plan) -> "Study":
    """Return the study of a folder, a new one if there is none, or raise an InputError for one of something else."""
    import optuna
    import sqlalchemy.exc

    directory, file = plan.directory, plan.directory / STUDY_FILE
    others = {path.name for path in directory.iterdir()} - {LOCK_FILE} if directory.is_dir() else directory.exists()
    if others and not file.exists():
        raise InputError(f"{directory} exists and holds no study (no {STUDY_FILE}): choose another folder.")
    directory.mkdir(parents=True, exist_ok=True)
    with _alone(directory):
        try:
            storage = optuna.storages.RDBStorage(f"sqlite:///{file.absolute()}", engine_kwargs={"connect_args": {"timeout": 60}})
            pruner = optuna.pruners.MedianPruner(n_warmup_steps=math.ceil(plan.settings.epochs / 3))
            study = optuna.create_study(
                storage=storage, study_name="gen-jax", pruner=pruner, direction="maximize", load_if_exists=True
            )
        except (sqlalchemy.exc.SQLAlchemyError, RuntimeError) as error:
            raise InputError(
                f"{file} is damaged, or of another version of Optuna ({type(error).__name__}): use that version, or choose "
                "another folder."
            ) from error
        if not study.user_attrs and not study.trials:
            study.set_user_attr(MADE_BY, plan.made_by)
    before = study.user_attrs.get(MADE_BY, {})
    for name, value in plan.made_by.items():
        if before.get(name) != value:
            raise InputError(_difference(directory, name, before.get(name), value))
    return study


def _difference(directory: Path, name: str, before: Any, now: Any) -> str:
    what = {"recipe": "recipe", "vary": "search space", "settings": "settings", "metric": "metric", "data": "data"}[name]
    if isinstance(before, dict) and isinstance(now, dict):
        changed = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        before, now = ({key: values.get(key) for key in changed} for values in (before, now))
    return f"{directory} holds a study of another {what}: {before} (now {now}). Choose another folder, or give the same to go on."


def _claim(plan: _Plan, study: "Study", num: int) -> "tuple[FrozenTrial, Any] | None":
    """Return a trial for this process, with the lock of its folder, which is taken; None if no trial is left.

    A trial whose process has ended is gone on with; else there is a new one.
    """
    from optuna.trial import TrialState, create_trial

    def now(number: int) -> "FrozenTrial":
        return study.get_trials(deepcopy=False)[number]

    with _alone(plan.directory):
        trials = study.get_trials(deepcopy=False)
        for trial in trials:
            if trial.state == TrialState.RUNNING and (lock := _taken(plan.folder(trial.number))):
                if now(trial.number).state == TrialState.RUNNING:
                    return now(trial.number), lock
                lock.release()  # its process ended it meanwhile
        params = propose(plan.space, trials, plan.settings.seed) if len(trials) < num else None
        if params is None:
            return None
        lock = _taken(plan.folder(len(trials)))
        study.add_trial(create_trial(state=TrialState.RUNNING, params=params, distributions=distributions(plan.space)))
        return now(len(trials)), lock


def _taken(folder: Path) -> Any:
    """Return the lock of a trial's folder, which is taken, or None if another process has it."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = folder_lock(folder)
    try:
        lock.acquire(timeout=0)
    except TimeoutError:
        return None
    return lock


def _run(plan: _Plan, study: "Study", claimed: "FrozenTrial", on_epoch: Callable[[int, dict[str, Any]], None]) -> bool:
    """Train a trial, and tell the study how it ended; False if a signal came first."""
    import optuna

    trial = optuna.Trial(study, claimed._trial_id)  # of `study.ask`, there would be a new one alone
    settings, folder, reported = plan.of_trial(claimed), plan.folder(claimed.number), dict(claimed.intermediate_values)

    def report(row: dict[str, Any]) -> None:
        on_epoch(claimed.number, row)
        if plan.metric not in row and any(name.startswith("valid_") for name in row):
            raise _NoMetricError(f"Validation reports no {plan.metric} with these settings.")
        if plan.metric in row and row["epoch"] not in reported:
            reported[row["epoch"]] = row[plan.metric]
            trial.report(row[plan.metric], row["epoch"])
        if plan.metric in row and row["epoch"] < settings.epochs and trial.should_prune():
            raise optuna.TrialPruned

    try:
        fitted = runs.fit(plan.recipe, settings, folder, on_epoch=report)
        if not fitted.finished:
            return False
        if fitted.epoch not in reported:
            raise _NoMetricError(f"Validation reports nothing, and {plan.metric} is wanted.")
        study.tell(claimed.number, reported[fitted.epoch])
    except optuna.TrialPruned:
        _drop(plan, study, claimed.number, optuna.trial.TrialState.PRUNED)
    except (NonFiniteError, InputError, MemoryError, RuntimeError) as error:
        if not _is_of_settings(error, plan, settings):
            raise
        trial.set_user_attr("why", "Out of memory." if is_out_of_memory(error) else str(error))
        _drop(plan, study, claimed.number, optuna.trial.TrialState.FAIL)
    return True


def _is_of_settings(error: Exception, plan: _Plan, settings: Any) -> bool:
    """Return whether a trial of these settings can only fail. Other errors, as of its folder, leave it to be gone on with."""
    if isinstance(error, NonFiniteError | _NoMetricError) or is_out_of_memory(error):
        return True
    if not isinstance(error, InputError):
        return False
    stored = load_dataset(settings.data, "none", stream=settings.stream)  # what it raises is no fault of the settings
    try:
        runs.check(plan.recipe, settings, stored)
    except InputError:
        return True
    return False


def _drop(plan: _Plan, study: "Study", number: int, state: Any) -> None:
    """Tell the study of a trial that did not run to its end, and remove its folder, before another process can claim it."""
    with _alone(plan.directory):
        study.tell(number, state=state)
        shutil.rmtree(plan.folder(number))


def _rows(plan: _Plan, study: "Study") -> list[dict[str, Any]]:
    """Return a row for each trial: of one that did not run to its end, the metric is its last."""
    rows = []
    for trial in study.get_trials(deepcopy=False):
        state, reported = trial.state.name.lower(), trial.intermediate_values
        value = trial.value if state == "complete" else reported.get(max(reported, default=0))
        epochs = max(reported, default=0)
        row = {"trial": trial.number, "state": state, plan.metric: value, "epochs": epochs} | values_of(plan.space, trial.params)
        rows.append(row | {name: why for name, why in trial.user_attrs.items() if name == "why"})
    return rows


def _concluded(plan: _Plan, study: "Study", on_evaluation: Callable[[int, int], None]) -> Tuned | None:
    """Return the study, and make a run of its best trial if none is left to other processes; None if a signal came."""
    with _alone(plan.directory):
        rows = _rows(plan, study)
        complete = [row for row in rows if row["state"] == "complete"]
        running = any(row["state"] == "running" for row in rows)
        if not complete and not running:
            raise InputError(
                f"None of the {len(rows)} trials of {plan.directory} ran to its end: the last says: {rows[-1].get('why', '')} "
                "Vary the settings in other ranges, in another folder."
            )
        if not complete:
            return Tuned(rows, plan.metric, None, None)
        best = max(complete, key=lambda row: row[plan.metric])["trial"]
        settings = plan.of_trial(study.get_trials(deepcopy=False)[best])
        names = list(plan.space)
        write_json(plan.directory / "trials.json", {"metric": plan.metric, "best": best, "trials": rows})
        write_whole(plan.directory / "trials.png", plots.png(plots.trials(rows, plan.metric, names)))
        if running:
            return Tuned(rows, plan.metric, settings, None)
        folder = plan.directory / "best"
        if study.user_attrs.get("best") != best:
            _copy(plan.folder(best), folder)
            study.set_user_attr("best", best)
        result = runs.train(plan.recipe, settings, folder, on_evaluation=on_evaluation)
        return None if result is None else Tuned(rows, plan.metric, settings, result)


def _copy(source: Path, to: Path) -> None:
    """Copy a run folder to where another one may be, of a study that had fewer trials."""
    if to.exists():
        shutil.rmtree(to)
    partial = to.with_name(to.name + ".partial")
    if partial.exists():
        shutil.rmtree(partial)
    shutil.copytree(source, partial, ignore=shutil.ignore_patterns(LOCK_FILE))
    partial.rename(to)
