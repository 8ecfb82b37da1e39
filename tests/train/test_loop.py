"""The loop: resumed runs end with the same bits, damage is survived, divergence and signals end it in order."""

import json
import os
import shutil
import signal
import threading
import zlib
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax import train
from gen_jax.types import InputError
from tests.small import fast_first
from tests.train import problem

EPOCHS = 6


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> tuple[Path, str]:
    directory = tmp_path_factory.mktemp("uninterrupted")
    fitted = problem.run(directory, EPOCHS)
    assert fitted.finished
    return directory, problem.digest(fitted.state)


def rows_without_time(directory: Path) -> list[dict]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in train.read_metrics(directory / "metrics.jsonl")]


def test_metrics_are_the_means_of_the_steps(uninterrupted):
    directory, _ = uninterrupted
    rows = rows_without_time(directory)
    assert [row["epoch"] for row in rows] == list(range(1, EPOCHS + 1))
    assert [row["step"] for row in rows] == [problem.STEPS * e for e in range(1, EPOCHS + 1)]
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    assert set(rows[0]) == {"epoch", "step", "train_loss", "train_grad_norm", "train_error", "valid_score"}


@pytest.mark.parametrize("stop_after", fast_first([3, 1, 5]))
def test_a_resumed_run_ends_with_the_same_bits(uninterrupted, tmp_path, stop_after):
    class StoppedError(Exception):
        pass

    def stop(row):
        if row["epoch"] == stop_after:
            raise StoppedError

    with pytest.raises(StoppedError):
        problem.run(tmp_path, EPOCHS, report=stop)
    fitted = problem.run(tmp_path, EPOCHS)
    assert fitted.finished
    assert problem.digest(fitted.state) == uninterrupted[1]
    assert rows_without_time(tmp_path) == rows_without_time(uninterrupted[0])
    assert fitted.history == train.read_metrics(tmp_path / "metrics.jsonl")


def test_checkpoints_are_the_two_latest_and_the_best(tmp_path):
    scores = iter([1.0, 5.0, 2.0, 3.0, 4.0, 0.0])
    state = problem.run(tmp_path, EPOCHS, validate=lambda params: {"valid_score": next(scores)}).state
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {"2", "2.json", "5", "5.json", "6", "6.json"}
    best, epoch = train.restore_best(tmp_path / "checkpoints", state, "valid_score")
    assert (epoch, int(best.step)) == (2, 2 * problem.STEPS)


def test_validation_comes_every_so_many_epochs_and_after_the_last(tmp_path):
    problem.run(tmp_path, 5, validate_every=2)
    assert [row["epoch"] for row in rows_without_time(tmp_path) if "valid_score" in row] == [2, 4, 5]


def checkpoint_files(directory: Path) -> list[Path]:
    """The files of the latest checkpoint, its commit among them, relative to the run directory."""
    files = (directory / "checkpoints").rglob("*")
    return sorted(
        p.relative_to(directory) for p in files if p.is_file() and str(EPOCHS) in (p.stem, p.relative_to(directory).parts[1])
    )


@pytest.mark.parametrize("what", ["data", "manifests", "commit", "all", "gone"])
def test_a_truncated_checkpoint_gives_way_to_the_one_before(uninterrupted, tmp_path, what):
    directory = tmp_path / "run"
    shutil.copytree(uninterrupted[0], directory)
    files = [directory / name for name in checkpoint_files(directory)]
    chosen = {
        "data": [f for f in files if f.parent.name == "d"],
        "manifests": [f for f in files if "manifest" in f.name],
        "commit": [f for f in files if f.suffix == ".json"],
        "all": files,
        "gone": [],
    }[what]
    for file in chosen:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    if what == "gone":
        shutil.rmtree(directory / "checkpoints" / str(EPOCHS))
    else:
        assert chosen
    with pytest.warns(UserWarning, match=f"Using the one of epoch {EPOCHS - 1}"):
        fitted = problem.run(directory, EPOCHS)
    assert fitted.finished
    assert problem.digest(fitted.state) == uninterrupted[1]
    assert len(list((directory / "unreadable").iterdir())) == 1  # moved aside, not deleted
    assert rows_without_time(directory) == rows_without_time(uninterrupted[0])


def test_where_no_checkpoint_can_be_read_the_run_says_so_and_stays(uninterrupted, tmp_path):
    directory = tmp_path / "run"
    shutil.copytree(uninterrupted[0], directory)
    for file in (directory / "checkpoints").rglob("*"):
        if file.parent.name == "d":
            file.write_bytes(b"")
    before = sorted(str(p) for p in directory.rglob("*"))
    with pytest.warns(UserWarning, match="is damaged"), pytest.raises(InputError, match="There is no other"):
        problem.run(directory, EPOCHS)
    assert sorted(str(p) for p in directory.rglob("*")) == before


def test_a_non_finite_loss_stops_with_the_step_and_keeps_the_checkpoint(tmp_path):
    def diverges_at_step_9(params, state, key, step, batch):
        loss, aux = train.batch_mean(problem.objective)(params, state, key, step, batch)
        return jnp.where(step == 9, jnp.nan, loss), aux

    with pytest.raises(train.NonFiniteError, match="Step 9 has loss nan"):
        problem.run(tmp_path, EPOCHS, loss=diverges_at_step_9)
    assert train.saved_epochs(tmp_path / "checkpoints") == [1, 2]
    assert [row["epoch"] for row in rows_without_time(tmp_path)] == [1, 2]
    fitted = problem.run(tmp_path, 2)  # what was saved is whole
    assert fitted.finished
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(fitted.state.params))


def test_a_non_finite_validation_metric_stops_too(tmp_path):
    with pytest.raises(train.NonFiniteError, match="valid_score is nan after epoch 1"):
        problem.run(tmp_path, EPOCHS, validate=lambda params: {"valid_score": jnp.nan})


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", ["in the epoch", "in the report"])
def test_a_signal_saves_and_ends_cleanly(uninterrupted, tmp_path, number, moment):
    """What the loop returns is what it saved, and the run resumes from there.

    In the report of epoch 2, epoch 3 is already with the device: it is finished and saved too.
    """
    epochs = []

    def send(*_):
        epochs.append(None)
        if len(epochs) == 2:
            os.kill(os.getpid(), number)

    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    options = {"report": send} if moment == "in the report" else {"before_epoch": send}
    fitted = problem.run(tmp_path, EPOCHS, validate_every=4, **options)
    assert not fitted.finished
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    saved = train.saved_epochs(tmp_path / "checkpoints")[-1]
    assert saved * problem.STEPS == int(fitted.state.step)
    assert saved == (3 if moment == "in the report" else 2)
    assert [row["epoch"] for row in fitted.history] == list(range(1, saved + 1))
    restored, epoch = train.restore_latest(tmp_path / "checkpoints", fitted.state)
    assert epoch == saved
    assert problem.digest(restored) == problem.digest(fitted.state)
    first_rows = []
    fitted = problem.run(tmp_path, EPOCHS, validate_every=4, report=first_rows.append)
    assert fitted.finished
    assert first_rows[0]["epoch"] == saved  # it went on, and did not start again
    assert problem.digest(fitted.state) == uninterrupted[1]


@pytest.mark.parametrize("again", [False, True], ids=["as it ends", "when all is done"])
def test_a_signal_in_the_last_report_ends_the_run_before_what_follows(tmp_path, again):
    if again:
        problem.run(tmp_path, 2)

    def send(row):
        if row["epoch"] == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    assert not problem.run(tmp_path, 2, report=send).finished
    assert train.saved_epochs(tmp_path / "checkpoints") == [1, 2]


def test_a_second_signal_acts_at_once_and_nothing_is_lost(uninterrupted, tmp_path):
    epochs = []

    def send():
        epochs.append(None)
        if len(epochs) == 3:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        problem.run(tmp_path, EPOCHS, before_epoch=send)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert train.saved_epochs(tmp_path / "checkpoints") == [1]  # epoch 2 was with the device
    assert problem.digest(problem.run(tmp_path, EPOCHS).state) == uninterrupted[1]


def test_a_second_signal_inside_of_the_first_one_s_handler_acts(tmp_path):
    """Two signals in a row: the second meets the handler of the first, not yet replaced."""

    def two_signals() -> None:
        handler = signal.getsignal(signal.SIGINT)
        handler(signal.SIGINT, None)
        handler(signal.SIGINT, None)

    with pytest.raises(KeyboardInterrupt):
        problem.run(tmp_path, 3, before_epoch=two_signals)


def test_an_ignored_signal_stays_ignored(tmp_path):
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert problem.run(tmp_path, 2, before_epoch=lambda: os.kill(os.getpid(), signal.SIGINT)).finished
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, previous)


def test_a_signal_in_the_last_epoch_ends_the_run_before_what_follows(tmp_path):
    assert not problem.run(tmp_path, 1, before_epoch=lambda: os.kill(os.getpid(), signal.SIGTERM)).finished
    assert train.saved_epochs(tmp_path / "checkpoints") == [1]
    assert problem.run(tmp_path, 1).finished


def test_the_loop_runs_in_a_thread(tmp_path):
    """Signals cannot be handled there, and the loop does without."""
    results = []
    thread = threading.Thread(target=lambda: results.append(problem.run(tmp_path, 1)))
    thread.start()
    thread.join()
    assert results[0].finished is True


def test_a_cut_last_line_of_metrics_is_left_out(uninterrupted, tmp_path):
    directory = tmp_path / "run"
    shutil.copytree(uninterrupted[0], directory)
    path = directory / "metrics.jsonl"
    path.write_text(path.read_text()[:-20])
    assert len(train.read_metrics(path)) == EPOCHS - 1


def test_other_damage_of_metrics_is_told_and_kept(uninterrupted, tmp_path):
    directory = tmp_path / "run"
    shutil.copytree(uninterrupted[0], directory)
    path = directory / "metrics.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"\xff\xfe{garbage\n" + lines[0] + b"[1]\n" + b"".join(lines[1:]))
    damaged = path.read_bytes()
    with pytest.warns(UserWarning, match="damaged in line 1, 3, which is left out"):
        problem.run(directory, EPOCHS + 1)
    assert [row["epoch"] for row in train.read_metrics(path)] == list(range(1, EPOCHS + 2))
    assert (directory / "metrics.jsonl.damaged").read_bytes() == damaged


def test_a_checkpoint_of_another_device_is_read(uninterrupted, tmp_path):
    """The files name a device that this machine does not have."""
    directory = tmp_path / "run"
    shutil.copytree(uninterrupted[0], directory)
    folder, commit = directory / "checkpoints" / str(EPOCHS), directory / "checkpoints" / f"{EPOCHS}.json"
    sharding, here = (folder / "_sharding").read_text(), str(jax.devices()[0])
    assert here in sharding
    (folder / "_sharding").write_text(sharding.replace(here, "other_device:9"))
    content = json.loads(commit.read_text())
    content["files"]["_sharding"] = zlib.crc32((folder / "_sharding").read_bytes())
    commit.write_text(json.dumps(content))
    assert problem.digest(problem.run(directory, EPOCHS).state) == uninterrupted[1]


def test_a_checkpoint_of_another_model_is_refused(uninterrupted):
    state = problem.run(uninterrupted[0], EPOCHS).state
    wider = state._replace(params={**state.params, "w": jnp.zeros(5)})
    with pytest.raises(InputError, match=r"of another model: \.params\['w'\] is float32\[4\] there and float32\[5\] here"):
        train.restore_latest(uninterrupted[0] / "checkpoints", wider)
    with pytest.raises(InputError, match=r"is missing here|missing here"):
        train.restore_best(uninterrupted[0] / "checkpoints", state._replace(ema=None), "valid_score")


def test_a_parameter_that_overflows_is_not_saved(tmp_path):
    """Every loss and gradient is finite; the last of the four steps, each of 1e38, is one too many."""

    def loss(params, state, key, step, batch):
        return params["b"], (state, {})

    options = {"validate": lambda params: {"valid_score": 0.0}, "snapshot": lambda params, epoch: pytest.fail("they are shown")}
    with pytest.raises(train.NonFiniteError, match="A parameter is not finite after epoch 1"):
        problem.run(tmp_path, EPOCHS, loss=loss, learning_rate=1e38, **options)
    assert train.saved_epochs(tmp_path / "checkpoints") == []
    assert rows_without_time(tmp_path) == []


def test_patience_counts_across_restarts(tmp_path):
    """The best of these scores is the second; after three worse ones training stops, whatever was interrupted in between."""
    scores = [1.0, 3.0, 2.0, 2.5, 1.0, 9.0, 9.0]

    def scripted(start):
        remaining = iter(scores[start:])
        return lambda params: {"valid_score": next(remaining)}

    problem.run(tmp_path, 4, patience=3, validate=scripted(0))
    for start in (4, 5):  # the second time there is nothing left to do
        assert problem.run(tmp_path, 7, patience=3, validate=scripted(start)).finished
        assert [row["valid_score"] for row in train.read_metrics(tmp_path / "metrics.jsonl")] == scores[:5]
    optimizer, _ = problem.make_step()
    _, epoch = train.restore_best(tmp_path / "checkpoints", problem.initial_state(optimizer), "valid_score")
    assert epoch == 2


@pytest.mark.parametrize("damage", ["cut", "gone", "twice"])
def test_patience_does_not_depend_on_the_metrics_file(tmp_path, damage):
    """The best of these scores is the first. Missing rows are told, the steps are counted on, and no row is there twice."""
    scores = iter([3.0, 2.0, 2.5, 1.0, 9.0])
    options = {"patience": 3, "validate": lambda params: {"valid_score": next(scores)}}
    problem.run(tmp_path, 3, **options)
    path = tmp_path / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text({"cut": "".join(lines)[:-9], "gone": "", "twice": "".join([*lines, *lines])}[damage])
    if damage == "twice":
        found = problem.run(tmp_path, 7, **options)
    else:
        missing = {"cut": "epochs 3:", "gone": "epochs 1, 2, 3:"}[damage]
        with pytest.warns(UserWarning, match=f"lacks the rows of {missing}"):
            found = problem.run(tmp_path, 7, **options)
    assert found.epoch == 1
    assert (found.history[-1]["epoch"], found.history[-1]["step"]) == (4, 4 * problem.STEPS)
    kept = {"cut": [1, 2, 4], "gone": [4], "twice": [1, 2, 3, 4]}[damage]
    assert [row["epoch"] for row in found.history] == kept
    assert found.history == train.read_metrics(path)


def test_checkpoints_that_are_gone_are_told(uninterrupted, tmp_path):
    directory = tmp_path / "run"
    shutil.copytree(uninterrupted[0], directory)
    shutil.rmtree(directory / "checkpoints")
    with pytest.warns(UserWarning, match=f"has metrics of {EPOCHS} epochs and no checkpoint: training starts anew"):
        found = problem.run(directory, EPOCHS)
    assert problem.digest(found.state) == uninterrupted[1]


def with_checksums(directory: Path, epoch: int) -> None:
    """Write the checksums of a checkpoint that was changed by hand."""
    commit = directory / f"{epoch}.json"
    content = json.loads(commit.read_text())
    files = [file for file in (directory / str(epoch)).rglob("*") if file.is_file()]
    content["files"] = {str(file.relative_to(directory / str(epoch))): zlib.crc32(file.read_bytes()) for file in files}
    text = json.dumps({name: content[name] for name in content if name not in ("checksum", "files")}, sort_keys=True)
    commit.write_text(json.dumps(content | {"checksum": zlib.crc32(text.encode())}))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of Orbax's threads
@pytest.mark.parametrize("what", ["data", "metadata"])
def test_a_checkpoint_that_was_forged_is_a_sentence(uninterrupted, tmp_path, what):
    directory = tmp_path / "run"
    shutil.copytree(uninterrupted[0], directory)
    folder = directory / "checkpoints" / str(EPOCHS)
    for file in folder.rglob("*"):
        if file.is_file() and (file.parent.name == "d" if what == "data" else file.name == "_METADATA"):
            file.write_bytes(b"garbage" * 20)
    with_checksums(directory / "checkpoints", EPOCHS)
    with pytest.raises(InputError, match=f"checkpoints/{EPOCHS} cannot be read .*: use .* or move it and {EPOCHS}.json away"):
        problem.run(directory, EPOCHS + 1)


def test_a_forged_score_is_no_score(uninterrupted, tmp_path):
    directory = tmp_path / "run"
    shutil.copytree(uninterrupted[0], directory)
    commit = directory / "checkpoints" / f"{EPOCHS}.json"
    commit.write_text(json.dumps(json.loads(commit.read_text()) | {"scores": {"valid_score": "abc"}}))
    with_checksums(directory / "checkpoints", EPOCHS)
    with pytest.warns(UserWarning, match=f"Using the one of epoch {EPOCHS - 1}"):
        assert problem.digest(problem.run(directory, EPOCHS).state) == uninterrupted[1]


def test_patience_without_a_metric_is_refused(tmp_path):
    with pytest.raises(InputError, match="patience is 3, and there is no best_metric to wait for"):
        problem.run(tmp_path, 2, patience=3, best_metric=None)
    with pytest.raises(InputError, match="patience is 0: give an integer, 1 or more"):
        problem.run(tmp_path, 2, patience=0)


def test_fewer_epochs_than_there_are_is_an_error(uninterrupted):
    with pytest.raises(InputError, match=f"epochs is 2, and .* has been trained for {EPOCHS}: give {EPOCHS} or more"):
        problem.run(uninterrupted[0], 2)


def test_without_a_directory_the_run_has_the_same_bits_and_writes_nothing(uninterrupted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fitted = problem.run(None, EPOCHS)
    assert list(tmp_path.iterdir()) == []
    assert problem.digest(fitted.state) == uninterrupted[1]
    assert [{k: v for k, v in row.items() if k != "seconds"} for row in fitted.history] == rows_without_time(uninterrupted[0])


@pytest.mark.parametrize(
    ("scores", "metric", "best"),
    [([1.0, 5.0, 2.0], "valid_score", 2), ([1.0, 5.0, 5.0], "valid_score", 3), ([-4.0, -5.0, -6.0], "valid_score", 1),
     ([1.0, 5.0, 2.0], None, 3)],
)  # fmt: skip
@pytest.mark.parametrize("kept", [False, True], ids=["without a directory", "with one"])
def test_the_best_is_what_was_validated_with_the_largest_score(tmp_path, scores, metric, best, kept):
    """The latest of equals, and without a metric; its parameters outlive the epochs that come after."""
    seen, shown, remaining = [], [], iter(scores)

    def validate(params):
        seen.append(jax.tree.map(np.asarray, params))
        return {"valid_score": next(remaining)}

    snapshot = lambda params, epoch: shown.append((epoch, jax.tree.map(np.asarray, params)))
    directory = tmp_path if kept else None
    fitted = problem.run(directory, len(scores), validate=validate, best_metric=metric, snapshot=snapshot)
    assert fitted.epoch == best
    chex.assert_trees_all_equal(fitted.params, seen[best - 1])
    chex.assert_trees_all_equal(shown, list(enumerate(seen, start=1)))


def test_a_best_from_before_a_restart_is_returned(tmp_path):
    scores = iter([1.0, 5.0, 2.0, 3.0])
    validate = lambda params: {"valid_score": next(scores)}
    first = problem.run(tmp_path, 2, validate=validate)
    assert first.epoch == 2
    again = problem.run(tmp_path, 4, validate=validate)
    assert (again.epoch, len(again.history)) == (2, 4)
    chex.assert_trees_all_equal(again.params, first.params)


@pytest.mark.parametrize("kept", [False, True], ids=["without a directory", "with one"])
@pytest.mark.parametrize("patience", [None, 9])
def test_a_signal_before_the_first_validation_returns_and_saves_the_epochs_that_were_done(tmp_path, patience, kept):
    send = lambda: os.kill(os.getpid(), signal.SIGTERM)
    options = {"validate_every": 4, "patience": patience, "before_epoch": send}
    fitted = problem.run(tmp_path if kept else None, EPOCHS, **options)
    assert (fitted.finished, fitted.epoch, int(fitted.state.step)) == (False, 1, problem.STEPS)
    chex.assert_trees_all_equal(fitted.params, train.evaluation_params(fitted.state))
    assert not kept or train.saved_epochs(tmp_path / "checkpoints") == [1]


def test_a_signal_before_the_first_epoch_returns_the_initial_parameters(tmp_path, monkeypatch):
    def send(*_):
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("gen_jax.train.loop.restore_latest", send)
    fitted = problem.run(tmp_path, EPOCHS)
    assert (fitted.finished, fitted.epoch, fitted.history, int(fitted.state.step)) == (False, 0, [], 0)
    assert train.saved_epochs(tmp_path / "checkpoints") == []


@pytest.mark.parametrize("patience", [None, 9])
def test_an_epoch_is_logged_while_the_next_one_runs_but_where_that_depends_on_it(patience):
    events = []
    problem.run(
        None,
        3,
        patience=patience,
        before_epoch=lambda: events.append("begin"),
        report=lambda row: events.append(row["epoch"]),
    )
    assert events == (["begin", "begin", 1, "begin", 2, 3] if patience is None else ["begin", 1, "begin", 2, "begin", 3])


def test_a_metric_that_is_no_scalar_is_named(tmp_path):
    def loss(params, state, key, step, batch):
        value, (state, metrics) = train.batch_mean(problem.objective)(params, state, key, step, batch)
        return value, (state, metrics | {"pair": params["w"][:2]})

    with pytest.raises(InputError, match=r"The loss reports pair as an array of shape \(2,\): report scalars"):
        problem.run(tmp_path / "loss", 2, loss=loss)
    with pytest.raises(InputError, match=r"Validation reports w as an array of shape \(4,\): report scalars"):
        problem.run(tmp_path / "validation", 2, validate=lambda params: {"valid_score": 1.0, "w": params["w"]})
    assert train.saved_epochs(tmp_path / "validation" / "checkpoints") == []


def test_a_best_metric_that_no_validation_reports_is_an_error(tmp_path):
    with pytest.raises(InputError, match="best_metric is 'valid_elbo', and validation reports valid_score: give one of these"):
        problem.run(tmp_path, 2, best_metric="valid_elbo")
    with pytest.raises(InputError, match="best_metric is 'valid_score', and validation reports nothing"):
        problem.run(None, 2, validate=lambda params: {})


def test_tensorboard_gets_the_same_numbers(tmp_path):
    pytest.importorskip("tensorboardX", reason="needs the extra `tensorboard`")
    problem.run(tmp_path, 2, tensorboard=True)
    problem.run(tmp_path, 3, tensorboard=True)  # goes on; every epoch stands there once
    from tensorboardX.proto.event_pb2 import Event

    (file,) = (tmp_path / "tensorboard").iterdir()
    raw, scalars = file.read_bytes(), []
    while raw:  # TFRecord: length (8 bytes), its checksum (4), the record, its checksum (4)
        size = int.from_bytes(raw[:8], "little")
        event = Event.FromString(raw[12 : 12 + size])
        scalars += [((value.tag, event.step), value.simple_value) for value in event.summary.value]
        raw = raw[16 + size :]
    rows = train.read_metrics(tmp_path / "metrics.jsonl")
    assert len(rows) == 3
    assert len(scalars) == sum(len(row) for row in rows)
    for row in rows:
        assert dict(scalars)["valid_score", row["epoch"]] == pytest.approx(row["valid_score"], rel=1e-6)


def test_json_is_whole_or_not_there(tmp_path):
    class Unwritable:
        pass

    path = tmp_path / "a.json"
    train.write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        train.write_json(path, {"a": Unwritable()})
    assert json.loads(path.read_text()) == {"a": 1}
