"""Training in many processes is training in one: on this machine's loopback, with two CPU devices each."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

import gen_jax
from gen_jax import cli, train
from gen_jax.train import hosts
from gen_jax.types import InputError
from tests.train.many_hosts import EPOCHS

TELLS = ("Another process of the run has ended", "another task died")  # the second is JAX's own


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def start(command: list[str], devices: int = 2, **env: str) -> subprocess.Popen:
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={devices}"
    env = (
        os.environ
        | {
            "XLA_FLAGS": flags,
        }
        | env
    )
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-m", *command], env=env, stdout=pipe, stderr=pipe, text=True)


def start_many(what: str, count: int, folder: Path | str = "", slurm: bool = False) -> list[subprocess.Popen]:
    """Start `count` processes of `many_hosts`, which find each other by an address or by the variables that SLURM sets."""
    port, started = free_port(), []
    for index in range(count):
        coordinator, env = f"127.0.0.1:{port}", {}
        if slurm:
            env = {"SLURM_JOB_ID": "1", "SLURM_STEP_NODELIST": "127.0.0.1", "SLURM_NTASKS": str(count)}
            env |= {"SLURM_PROCID": str(index), "SLURM_LOCALID": str(index), "JAX_COORDINATOR_PORT": str(port)}
            coordinator = "auto"
        started.append(start(["tests.train.many_hosts", what, coordinator, str(count), str(index), str(folder)], **env))
    return started


def start_one(what: str, folder: Path | str = "") -> subprocess.Popen:
    return start(["tests.train.many_hosts", what, "", "0", "0", str(folder)], devices=1)


def ended(processes: list[subprocess.Popen], within: float = 900) -> list[tuple[int, str, str]]:
    """Wait for processes, and return the status, the output and the errors of each."""
    try:
        said = [process.communicate(timeout=within) for process in processes]
        return [(process.returncode, *text) for process, text in zip(processes, said, strict=True)]
    finally:
        for process in processes:
            process.kill()


def results(processes: list[subprocess.Popen]) -> list[dict]:
    found = ended(processes)
    for status, _, errors in found:
        assert status == 0, errors
    return [json.loads(output.splitlines()[-1]) for _, output, _ in found]


def epochs_at_the_end(survivor: subprocess.Popen, victim: subprocess.Popen, folder: Path) -> list[int]:
    """The saved epochs of a run of which one process is killed; the other has to end within a minute, and to say why."""
    assert victim.wait(timeout=900) == -9
    ((status, _, errors), _) = ended([survivor, victim], within=60)
    assert status != 0
    assert any(sentence in errors for sentence in TELLS), errors
    done = train.saved_epochs(folder / "checkpoints")
    assert 0 < max(done) < EPOCHS
    return done


@pytest.fixture(scope="module")
def alone() -> dict:
    """What a process that is connected to no other finds on one device."""
    (found,) = results([start_one("losses")])
    return found


def check_same(found: dict, one: dict, devices: int) -> None:
    assert found["devices"] == devices
    assert found["here"]
    for metric in one["row"].keys() - {"seconds"}:
        rtol = 1e-5 if "loss" in metric else 1e-3
        np.testing.assert_allclose(found["row"][metric], one["row"][metric], rtol=rtol, err_msg=metric)
    np.testing.assert_allclose(found["params"], one["params"], rtol=1e-4)


@pytest.mark.slow
def test_two_processes_are_as_one(alone):
    """Losses of a VAE in memory, streamed and with cut parameters, and of a GAN with batch norm."""
    for found in results(start_many("losses", 2)):
        for name in ("vae", "streamed", "dcgan"):
            check_same(found[name], alone[name], devices=4)
            assert found[name]["cut"] == 0
        check_same(found["cut"], alone["vae"], devices=4)
        assert found["cut"]["cut"] > 0


@pytest.mark.slow
def test_four_processes_of_a_cluster_are_as_one(alone):
    """They find each other by the variables that SLURM sets, which are set here by hand."""
    for found in results(start_many("vae", 4, slurm=True)):
        check_same(found["vae"], alone["vae"], devices=8)


@pytest.mark.slow
def test_a_killed_process_ends_the_others_and_the_run_goes_on(tmp_path):
    survivor, victim = start_many("killed", 2, tmp_path / "killed [1]")
    done = epochs_at_the_end(survivor, victim, tmp_path / "killed [1]")
    shutil.copytree(tmp_path / "killed [1]", tmp_path / "alone")
    folders = ("uninterrupted", "killed [1]")
    uninterrupted, resumed = (results(start_many("whole", 2, tmp_path / name)) for name in folders)
    (alone,) = results([start_one("whole", tmp_path / "alone")])
    assert uninterrupted[0]["shown"] == [*range(1, EPOCHS + 1)]
    assert resumed[0]["shown"] == [*range(max(done), EPOCHS + 1)]  # first how far it had come
    for of_first, of_second in (uninterrupted, resumed):
        assert of_second["shown"] == []  # it is not the one that prints
        assert of_first["refused"][:-1] == of_second["refused"][:-1]
        for name in ("digest", "rows"):
            assert of_first[name] == of_second[name] == uninterrupted[0][name]
    files = {path.name for path in (tmp_path / "killed [1]").iterdir()}
    assert files == {".lock", "config.json", "metrics.jsonl", "checkpoints"}
    assert [row["epoch"] for row in train.read_metrics(tmp_path / "killed [1]" / "metrics.jsonl")] == [*range(1, EPOCHS + 1)]
    for of_one, of_two in zip(alone["rows"], uninterrupted[0]["rows"], strict=True):
        for name in of_one:
            np.testing.assert_allclose(of_one[name], of_two[name], rtol=1e-5, err_msg=name)
    batch, divided, number, *alike, unshared = uninterrupted[0]["refused"]
    assert "The batch is of 7, which 2 processes do not divide: give one of 6." in batch
    assert "devices is 3, of 2 processes with 2 each: give 2, 4." in divided
    assert "devices is 5, and there are 4: give no more." in number
    names = [message.partition("differ in ")[2].partition(": give all the same settings")[0] for message in alike]
    step = "program.step"
    assert names == [
        "key",
        f"learning_rate, {step}",
        f"schedule, {step}",
        f"ema_decay, {step}",
        "best_metric",
        step,
        step,
        "directory",
    ]
    assert "uninterrupted of 0 is not one folder for all processes of the run" in unshared
    assert "uninterrupted of 1 is not one folder" in uninterrupted[1]["refused"][-1]
    assert not (tmp_path / "uninterrupted of 0").exists()


@pytest.mark.slow
def test_the_first_process_killed_ends_the_other_and_the_run_goes_on(tmp_path):
    victim, survivor = start_many("first_killed", 2, tmp_path / "run")
    epochs_at_the_end(survivor, victim, tmp_path / "run")
    (resumed,) = results([start_one("whole", tmp_path / "run")])
    assert resumed["finished"]
    assert [row["epoch"] for row in resumed["rows"]] == [*range(1, EPOCHS + 1)]


@pytest.mark.slow
def test_a_signal_to_one_process_stops_all_after_the_same_epoch(tmp_path):
    first, second = results(start_many("stopped", 2, tmp_path))
    assert first == second
    assert not first["finished"]
    assert 3 <= first["epoch"] <= 5
    assert train.saved_epochs(tmp_path / "checkpoints")[-1] == first["epoch"]


@pytest.mark.slow
def test_an_error_of_one_process_ends_the_others(tmp_path):
    (first, _, errors), (second, _, told) = ended(start_many("failing", 2, tmp_path))
    assert first != 0
    assert "of process 0 alone" in errors
    assert second != 0
    assert any(sentence in told for sentence in TELLS), told


@pytest.mark.slow
def test_the_command_in_two_processes(tmp_path):
    """One result, written and shown by process 0 alone."""
    port, out = free_port(), tmp_path / "run"
    small = {"hidden-sizes": 8, "latent-dim": 2, "epochs": 1, "epoch-steps": 2, "num-importance-samples": 2}
    settings = [word for name, value in small.items() for word in (f"--{name}", str(value))]
    command = ["gen_jax", "train", "vae", "--out", str(out), *settings, "--coordinator", f"127.0.0.1:{port}"]
    started = [start([*command, "--num-processes", "2", "--process-index", str(index)]) for index in range(2)]
    (status, shown, _), (other, silent, errors) = ended(started)
    assert status == other == 0, errors
    assert "test_elbo" in shown
    assert {line for line in silent.splitlines() if not line.startswith("[Gloo]")} == set()
    assert "train" not in errors
    files = {".lock", "config.json", "metrics.jsonl", "checkpoints", "figures", "result.json"}
    assert {path.name for path in out.iterdir()} == files
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 1


@pytest.mark.slow
def test_a_coordinator_that_does_not_answer():
    begun = time.monotonic()
    program = f"from gen_jax.train import connect; connect('127.0.0.1:{free_port()}', 2, %d, timeout=2)"
    processes = [
        subprocess.Popen([sys.executable, "-c", program % index], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for index in (0, 1)
    ]
    processes[0].kill()
    (_, *_), (status, _, errors) = ended(processes)
    assert status == 2
    assert "Error: After 2 s not all processes are there (this one is 1 of 2): start all of them, each with an index" in errors
    assert "reach process 0 at 127.0.0.1:" in errors
    assert time.monotonic() - begun < 60


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("127.0.0.1:1234", 2), "coordinator is 127.0.0.1:1234, and process_index is missing"),
        (("127.0.0.1:1234", None, 1), "coordinator is 127.0.0.1:1234, and num_processes is missing"),
        (("127.0.0.1:1234", 2, 2), "process_index is 2, of 2 processes: give 0 to 1"),
        (("127.0.0.1:1234", 2, -1), "process_index is -1, of 2 processes: give 0 to 1"),
        (("127.0.0.1:1234", 0, 0), "num_processes is 0: give 1 or more"),
        (("127.0.0.1", 2, 0), "coordinator is '127.0.0.1': give HOST:PORT of process 0, or auto"),
        (("127.0.0.1:99999", 2, 0), "coordinator is '127.0.0.1:99999': give HOST:PORT"),
        (("auto", 2), "num_processes is 2, and coordinator is auto: leave it out"),
    ],
)
def test_arguments_that_do_not_go_together(arguments, message):
    with pytest.raises(InputError, match=message):
        train.connect(*arguments)


def test_a_port_that_is_taken():
    with socket.create_server(("", 0)) as taken, pytest.raises(InputError, match=r"its port cannot be had .*: give another"):
        train.connect(f"127.0.0.1:{taken.getsockname()[1]}", 2, 0)


def test_no_cluster():
    program = "from gen_jax.train import connect; connect()"
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "coordinator is auto, and JAX finds no cluster here" in process.stderr


def test_processes_need_a_coordinator(capsys, tmp_path):
    assert cli.main(["train", "vae", "--out", str(tmp_path / "run"), "--num-processes", "2"]) == 2
    assert "num_processes is 2, and coordinator is missing" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "run").exists()


def test_a_recipe_that_computes_as_it_is_imported_is_blamed_by_name(tmp_path):
    own = tmp_path / "own.py"
    own.write_text("import jax.numpy as jnp\nfrom gen_jax.recipes import RECIPES\nONES = jnp.ones(3)\nOWN = RECIPES['vae']\n")
    options = ["--coordinator", f"127.0.0.1:{free_port()}", "--num-processes", "1", "--process-index", "0"]
    ((status, _, errors),) = ended([start(["gen_jax", "train", f"{own}:OWN", "--out", str(tmp_path / "run"), *options])])
    assert status == 2
    assert f"{own} computes with JAX as it is imported" in errors
    assert not (tmp_path / "run").exists()


def test_only_errors_of_the_connection_are_of_another_process(monkeypatch):
    def fail():
        raise ConnectionError("the user's own connection")

    monkeypatch.setattr(hosts, "num_processes", lambda: 2)
    with pytest.raises(jax.errors.JaxRuntimeError, match="the user's own connection"), hosts.lost_processes_told():
        jax.jit(lambda: jax.pure_callback(fail, jax.ShapeDtypeStruct((), np.float32)))().block_until_ready()
    with pytest.raises(train.LostProcessError, match="Another process of the run has ended"), hosts.lost_processes_told():
        raise jax.errors.JaxRuntimeError("FAILED_PRECONDITION: Gloo AllReduce failed: Connection closed by peer [127.0.0.1]:1")


def test_a_lost_process_ends_the_command_at_once(monkeypatch, capfd, tmp_path):
    """What was said before is written, and --debug shows the stack trace."""

    def train_and_lose(*_, **__):
        sys.stdout.write("said before")
        raise train.LostProcessError("Another process of the run has ended")

    def leave(status):  # at which nothing is written any more
        written.append(capfd.readouterr())
        raise SystemExit(status)

    written = []
    monkeypatch.setattr(gen_jax.runs, "train", train_and_lose)
    monkeypatch.setattr(os, "_exit", leave)
    for debug in ([], ["--debug"]):
        with pytest.raises(SystemExit, match="4"):
            cli.main(["train", "vae", "--out", str(tmp_path / "run"), *debug])
        assert "said before" in written[-1].out
        assert "Error: Another process of the run has ended" in written[-1].err
        assert ("Traceback" in written[-1].err) == bool(debug)


def test_a_process_alone_is_the_first():
    assert train.is_first()
    assert train.by_first(lambda: (1, 2)) == (1, 2)  # as it is
