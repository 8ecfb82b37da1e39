"""Checkpoints and the files beside them: kept, damaged, cut off half-way, in folders of any name."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax import train
from gen_jax.train import checkpoint, metrics
from gen_jax.types import InputError


def make_state(epoch: int) -> dict:
    """A little of everything: a counter, parameters, an optimizer's empty tuple, a typed key, None."""
    w = jax.random.normal(jax.random.key(epoch), (3, 5))
    return {"step": jnp.int32(epoch), "params": [w, jnp.bfloat16(epoch)], "empty": (), "key": jax.random.key(7), "ema": None}


def same(a: dict, b: dict) -> bool:
    def bits(state):
        leaves = [jax.random.key_data(leaf) if "key" in str(leaf.dtype) else leaf for leaf in jax.tree.leaves(state)]
        return [(str(leaf.dtype), np.asarray(leaf).tobytes()) for leaf in leaves]

    return jax.tree.structure(a) == jax.tree.structure(b) and bits(a) == bits(b)


def save(directory: Path, scores: dict[int, float | None], best_metric: str | None = "score") -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for epoch, score in scores.items():
        train.save_checkpoint(directory, epoch, make_state(epoch), {} if score is None else {"score": score}, best_metric)
    return directory


def check_goes_on_from(directory: Path, epoch: int, restore=train.restore_latest) -> None:
    state, found = restore(directory, make_state(0))
    assert found == epoch
    assert same(state, make_state(epoch))


def restore_best(directory, like):
    return train.restore_best(directory, like, "score")


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """Of epochs 1, 3 and 4; the best is the first."""
    return save(tmp_path_factory.mktemp("saved") / "checkpoints", {1: 9.0, 2: 1.0, 3: 3.0, 4: 2.0})


@pytest.fixture
def copied(saved, tmp_path) -> Path:
    return shutil.copytree(saved, tmp_path / "run" / "checkpoints")


def test_the_state_comes_back_bit_for_bit(saved):
    check_goes_on_from(saved, 4)
    check_goes_on_from(saved, 1, restore_best)
    assert train.restore_best(saved, make_state(0), None)[1] == 4
    assert train.restore_best(saved, make_state(0), "another score")[1] == 4


def test_without_a_checkpoint_there_is_nothing_to_restore(tmp_path):
    assert train.restore_latest(tmp_path, make_state(0)) is None
    assert restore_best(tmp_path, make_state(0)) is None


@pytest.mark.parametrize(
    ("scores", "metric", "kept"),
    [
        ({1: 5.0, 2: 1.0, 3: 1.0, 4: 1.0}, "score", [1, 3, 4]),
        ({1: 5.0, 2: 5.0, 3: 1.0, 4: 1.0}, "score", [2, 3, 4]),  # the latest of equals
        ({1: 5.0, 2: 1.0, 3: 1.0, 4: 1.0}, None, [3, 4]),
        ({1: -5.0, 2: None, 3: None, 4: None}, "score", [1, 3, 4]),  # what a signal had saved has no score
    ],
)
def test_the_two_latest_and_the_best_are_kept(tmp_path, scores, metric, kept):
    save(tmp_path, scores, metric)
    assert train.saved_epochs(tmp_path) == kept
    assert {path.name for path in tmp_path.iterdir()} == {f"{epoch}{end}" for epoch in kept for end in ("", ".json")}


def test_a_damaged_byte_of_any_file_is_noticed(saved, tmp_path):
    """Orbax alone returns wrong numbers for some of these."""
    names = [file.relative_to(saved) for file in sorted((saved / "4").rglob("*")) if file.is_file() and file.stat().st_size]
    assert len(names) > 5
    for i, name in enumerate(names):
        directory = shutil.copytree(saved, tmp_path / str(i) / "checkpoints")
        content = bytearray((directory / name).read_bytes())
        content[len(content) // 2] ^= 1
        (directory / name).write_bytes(content)
        with pytest.warns(UserWarning, match=r"checkpoints/4 is damaged: .* Using the one of epoch 3\."):
            check_goes_on_from(directory, 3)
        assert {path.name for path in (tmp_path / str(i)).glob("unreadable/*/*")} == {"4", "4.json"}
        check_goes_on_from(directory, 3)  # without a warning


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (rb"2\.0", b'"abc"'),
        (rb"2\.0", b"7.0"),
        (b"float32", b"float33"),
        (b'"files"', b'"filez"'),
        (b'"scores"', b'"scorez"'),
        (b'"d/', b'"e/'),
        (rb"\d\d(?=,\n)", b"00"),  # of a checksum
        (rb"(?s).*", b"[1]"),
        (rb"(?s).*", b""),
        (rb"(?s).*", b"\xff\xfe"),
        (rb"(?s).*", b"[" * 100_000),
    ],
    ids=["text score", "score", "state", "no files", "no scores", "file", "checksum", "list", "empty", "no text", "brackets"],
)
def test_a_damaged_commit_is_noticed(copied, old, new):
    file = copied / "4.json"
    content = re.sub(old, new, file.read_bytes(), count=1)
    assert content != file.read_bytes()
    file.write_bytes(content)
    with pytest.warns(UserWarning, match="4 is damaged"):
        check_goes_on_from(copied, 1, restore_best)
    with pytest.warns(UserWarning, match="4 is damaged"):
        check_goes_on_from(copied, 3)


@pytest.mark.parametrize("suffix", ["", ".json"], ids=["folder", "commit"])
def test_a_damaged_best_gives_way_and_is_not_lost(copied, suffix):
    for file in [copied / "1.json"] if suffix else (copied / "1").rglob("d/*"):
        file.write_bytes(file.read_bytes()[:-2])
    before = sorted(copied.parent.rglob("*"))
    with pytest.warns(UserWarning, match="1 is damaged: .* Using the one of epoch 3"):
        check_goes_on_from(copied, 3, restore_best)
    assert sorted(copied.parent.rglob("*")) == before
    with pytest.warns(UserWarning, match="1 is damaged: .* Using the one of epoch 4"):
        check_goes_on_from(copied, 4)
    save(copied, {5: 0.0})
    assert train.saved_epochs(copied) == [3, 4, 5]
    assert len(list(copied.parent.glob("unreadable/*/1"))) == 1


def test_a_single_damaged_checkpoint_is_an_error_and_stays(tmp_path):
    save(tmp_path, {1: None})
    shutil.rmtree(tmp_path / "1")
    for restore in (train.restore_latest, restore_best):
        with pytest.raises(InputError, match=r"1 is damaged.* There is no other: train into another folder"):
            restore(tmp_path, make_state(0))
    assert train.saved_epochs(tmp_path) == [1]


def test_another_model_is_refused_by_its_first_leaf_and_nothing_is_moved(copied):
    (copied / "1.json").write_text("{")
    like = make_state(0) | {"params": [jnp.zeros((3, 6)), jnp.zeros(2)], "ema": jnp.zeros(2)}
    message = r"checkpoints/4 is of another model: \['ema'\] is missing there and float32\[2\] here"
    with pytest.warns(UserWarning, match="1 is damaged"), pytest.raises(InputError, match=message):
        train.restore_latest(copied, like)
    assert train.saved_epochs(copied) == [1, 3, 4]


@pytest.mark.parametrize("name", ["a[b]c", "[", "]", "a[b", r"a\b", "a*b", "a?b", "a\nb", "ü{b}", "a%20#b:|"])
@pytest.mark.parametrize("relative", [False, True])
def test_a_folder_may_have_any_name(tmp_path, monkeypatch, name, relative):
    (tmp_path / "axb" / "checkpoints").mkdir(parents=True)  # what the patterns among the names would match
    (tmp_path / "abc").mkdir()
    monkeypatch.chdir(tmp_path)
    directory = save((Path() if relative else tmp_path) / name / "checkpoints", {1: 2.0, 2: 1.0})
    check_goes_on_from(directory, 2)
    check_goes_on_from(directory, 1, restore_best)
    moved = shutil.move(tmp_path / name, tmp_path / "moved") / "checkpoints"
    check_goes_on_from(moved, 2)


@pytest.mark.parametrize("moment", ["Orbax writes", "the state is written", "old commits go", "old folders go"])
def test_a_kill_at_any_moment_leaves_a_whole_checkpoint(copied, monkeypatch, moment):
    class KilledError(BaseException):
        pass

    def kill(*_, **__):
        raise KilledError

    owner, name = {
        "Orbax writes": (checkpoint, "_checksums"),
        "the state is written": (checkpoint, "write_json"),
        "old commits go": (Path, "unlink"),
        "old folders go": (shutil, "rmtree"),
    }[moment]
    if moment == "old commits go":  # `write_whole` unlinks too
        monkeypatch.setattr(checkpoint, "_best", kill)
    else:
        monkeypatch.setattr(owner, name, kill)
    with pytest.raises(KilledError):
        save(copied, {5: 0.0})
    monkeypatch.undo()
    if moment == "Orbax writes":  # what it leaves of its own
        (copied / "5").rename(copied / "5.orbax-checkpoint-tmp")
    epoch = 5 if moment.startswith("old") else 4
    check_goes_on_from(copied, epoch)
    check_goes_on_from(copied, 1, restore_best)
    save(copied, {epoch + 1: 0.0})
    kept = [1, epoch, epoch + 1]
    assert {path.name for path in copied.iterdir()} == {f"{e}{end}" for e in kept for end in ("", ".json")}
    check_goes_on_from(copied, epoch + 1)


SAVES_FOR_EVER = """
import itertools, sys
from pathlib import Path
from gen_jax import train
from tests.train.test_checkpoint import make_state
for epoch in itertools.count(1):
    train.save_checkpoint(Path(sys.argv[1]), epoch, make_state(epoch), {"score": -abs(epoch - 3.0)}, "score")
"""


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_process_killed_while_it_saves_leaves_a_whole_checkpoint(tmp_path, seed):
    command = [sys.executable, "-c", SAVES_FOR_EVER, str(tmp_path)]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2], stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 120
        while len(train.saved_epochs(tmp_path)) < 3 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(np.random.default_rng(seed).uniform(0, 0.2))
    finally:
        process.send_signal(signal.SIGKILL)
        _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors
    check_goes_on_from(tmp_path, train.saved_epochs(tmp_path)[-1])
    check_goes_on_from(tmp_path, 3, restore_best)


def test_importing_train_does_not_import_orbax():
    code = "import sys, gen_jax.train; sys.exit('orbax' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=True)


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), ValueError("RESOURCE_EXHAUSTED: No space left\nand more")]
)
def test_a_full_disk_is_a_sentence_and_leaves_the_checkpoints(copied, monkeypatch, error):
    def full(*_):
        raise error

    monkeypatch.setattr(checkpoint, "write_json", full)
    before = sorted(copied.rglob("*"))
    with pytest.raises(OSError, match=r"checkpoints/5 cannot be written \(.*No space left.*\): free disk space"):
        save(copied, {5: 0.0})
    assert sorted(copied.rglob("*")) == before


def test_a_full_disk_leaves_the_old_file_and_nothing_beside_it(tmp_path, monkeypatch):
    def full(self, content):
        self.open("wb").close()
        raise OSError(28, "No space left on device")

    path = tmp_path / "a.json"
    train.write_json(path, {"a": 1})
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        train.write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}
    assert os.listdir(tmp_path) == ["a.json"]


def test_bytes_are_written_whole_too(tmp_path):
    metrics.write_whole(tmp_path / "a", b"\xff\r\n")
    metrics.write_whole(tmp_path / "b", "ü\n")
    assert (tmp_path / "a").read_bytes() == b"\xff\r\n"
    assert (tmp_path / "b").read_text(encoding="utf-8") == "ü\n"


@pytest.mark.parametrize(
    "row", ['{"epoch": 2, "seconds": 1.0, "score": "abc"}', "[" * 100_000, '{"epoch": 2}', "{"], ids=list("abcd")
)
def test_a_row_of_metrics_that_holds_something_else_is_left_out(tmp_path, row):
    path = tmp_path / "metrics.jsonl"
    lines = ['{"epoch": 1, "seconds": 1.0, "score": 2}', row, '{"epoch": 3, "seconds": 1.0}']
    path.write_text("\n".join(lines) + "\n")
    with pytest.warns(UserWarning, match="damaged in line 2"):
        assert [r["epoch"] for r in train.read_metrics(path)] == [1, 3]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("[" * 100_000, "is not valid JSON"),
        ('{"a":' * 100_000, "is not valid JSON"),
        ("{", "is not valid JSON"),
        ("[1]", "holds no JSON object"),
    ],
    ids=["brackets", "braces", "cut", "list"],
)
def test_a_damaged_config_or_result_is_an_error(tmp_path, text, wanted):
    for name, read in (("config.json", train.read_config), ("result.json", lambda path: train.read_result(path, {}))):
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match=f"{name} {wanted}"):
            read(tmp_path)
    with pytest.raises(InputError, match=f"config.json {wanted}"), train.open_run(tmp_path, {}):
        pass


def test_a_run_by_other_settings_names_what_differs(tmp_path):
    config = {"a": {"b": [1, (2,)], "c": None}, "d": 1.5, "e": "x"}
    for _ in range(2):
        with train.open_run(tmp_path, config):
            pass
    other = {"a": {"b": [1, [3]], "c": None}, "e": "x", "f": None, "g": 0}
    message = r"other settings: a\.b = \[1, \[2\]\] \(now \[1, \[3\]\]\), d = 1\.5 \(now None\), g = None \(now 0\)\."
    with pytest.raises(InputError, match=message), train.open_run(tmp_path, other):
        pass
