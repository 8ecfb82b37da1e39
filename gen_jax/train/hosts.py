"""Training in many processes, as on many hosts: `connect` starts it, and process 0 alone writes all files but the checkpoints.

Every process runs the same program on the same data, and JAX (`jax.distributed`) makes their devices one list, over which `fit`
trains. What only one process may do, such as taking a lock, it does in `by_first`; what only one may know of, such as a signal,
all learn by `any_process`.
"""

import contextlib
import json
import os
import socket
import sys
import threading
import zlib
from collections.abc import Callable, Generator, Mapping
from typing import Any, NoReturn

import jax
import numpy as np
from jax.experimental import multihost_utils

from gen_jax.types import InputError

CONNECT_SECONDS = 120
"""How long processes wait for each other as they start."""
HEARTBEAT_SECONDS = 30
"""Without a sign of life for so long, a process is taken for dead; as they end, processes wait for each other as long."""
EXIT_UNCONNECTED = 2
SIGNS_OF_LOSS = ("gloo", "nccl", "connection", "unavailable:", "heartbeat", "coordination service", "another task")
"""Parts, in lower case, of what JAX's errors say where another process cannot be reached: any other error is of this process."""


class LostProcessError(RuntimeError):
    """Another process of the run has ended, or cannot be reached any more."""


def connect(
    coordinator: str = "auto",
    num_processes: int | None = None,
    process_index: int | None = None,
    *,
    timeout: int = CONNECT_SECONDS,
) -> None:
    """Join the processes of a run, by `jax.distributed.initialize`; call it in each of them, before anything else uses JAX.

    A process that dies ends the others: by a `LostProcessError` where their connection to it closes; else JAX misses it after
    `HEARTBEAT_SECONDS`, and ends them from within, with a message of its own and no exception.

    Args:
        coordinator: HOST:PORT of process 0, any free port; or "auto", for what JAX finds of a cluster: SLURM, Open MPI,
            Kubernetes, Cloud TPUs.
        num_processes: how many there are.
        process_index: which this one is, from 0.
        timeout: in seconds. A process that has waited so long for the others says so and exits with status 2: what JAX waits
            in cannot be left in another way.

    Raises:
        InputError: the arguments do not go together, no cluster was found, JAX has begun to compute, the port is taken, or
            the network or another process with the same index forbids it.
    """
    given = _checked(coordinator, num_processes, process_index)
    if process_index == 0:
        _check_free(coordinator)
    jax.config.update("jax_enable_preemption_service", False)  # it takes SIGTERM, at which the training loop saves
    where = f"process 0 at {coordinator}" if given else "process 0 of the cluster's job"
    alarm = threading.Timer(timeout, _leave, (timeout, where, given))
    alarm.daemon = True
    alarm.start()
    try:
        jax.distributed.initialize(
            **given,
            initialization_timeout=timeout + 60,  # at which JAX would abort
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=HEARTBEAT_SECONDS,
        )
    except RuntimeError as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        if isinstance(error, jax.errors.JaxRuntimeError):  # of the network; it is a RuntimeError too
            remedy = f"see that {where} can be reached, and that each process has an index of its own"
        else:
            remedy = "call connect once, before anything else uses JAX"
        raise InputError(f"Processes cannot be connected ({reason}): {remedy}.") from error
    except ValueError as error:  # what it would have to know of a cluster
        reason = str(error).rstrip(".")
        raise InputError(
            f"coordinator is auto, and JAX finds no cluster here ({reason}): start the processes by one that it "
            "knows, such as SLURM, or give HOST:PORT of process 0, their number and the index of each."
        ) from error
    finally:
        alarm.cancel()


def _checked(coordinator: str, num_processes: int | None, process_index: int | None) -> dict[str, Any]:
    """Return the arguments for JAX, none for a cluster that it finds itself; or raise an InputError."""
    counts = {"num_processes": num_processes, "process_index": process_index}
    if coordinator == "auto":
        for name, value in counts.items():
            if value is not None:
                raise InputError(
                    f"{name} is {value}, and coordinator is auto: leave it out, or give the coordinator as HOST:PORT."
                )
        return {}
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise InputError(f"coordinator is {coordinator!r}: give HOST:PORT of process 0, or auto.")
    if num_processes is None or process_index is None:
        missing = " and ".join(name for name, value in counts.items() if value is None)
        raise InputError(f"coordinator is {coordinator}, and {missing} is missing: give num_processes and process_index.")
    if num_processes < 1:
        raise InputError(f"num_processes is {num_processes}: give 1 or more.")
    if not 0 <= process_index < num_processes:
        raise InputError(f"process_index is {process_index}, of {num_processes} processes: give 0 to {num_processes - 1}.")
    return {"coordinator_address": coordinator, "num_processes": num_processes, "process_id": process_index}


def _check_free(coordinator: str) -> None:
    """Raise an InputError for a port that cannot be had, at which JAX would crash."""
    port = int(coordinator.rpartition(":")[2])
    try:
        socket.create_server(("", port)).close()
    except OSError as error:
        raise InputError(
            f"coordinator is {coordinator}, and its port cannot be had ({os.strerror(error.errno or 0)}): give another."
        ) from error


def _leave(timeout: int, where: str, given: Mapping[str, Any]) -> NoReturn:
    index = f" (this one is {given['process_id']} of {given['num_processes']})" if given else ""
    remedy = f"start all of them, each with an index of its own; they must be able to reach {where}."
    print(f"Error: After {timeout} s not all processes are there{index}: {remedy}", file=sys.stderr, flush=True)
    os._exit(EXIT_UNCONNECTED)


def num_processes() -> int:
    """Return the number of processes. Unless they are connected that is 1, and JAX is not started to find out."""
    return jax.process_count() if jax.distributed.is_initialized() else 1


def is_first() -> bool:
    """Say whether this is process 0, which alone writes and prints; so is a process that is connected to no other."""
    return num_processes() == 1 or jax.process_index() == 0


def by_first(do: Callable[[], Any]) -> Any:
    """Let process 0 do something while the others wait, and return in all of them what it returns, which is JSON.

    Of many processes each gets the value as JSON gives it back: tuples as lists, keys of dicts as text. (A process alone gets it
    as it is.) What process 0 does may call nothing that waits for the others, such as `by_first`: they do not take part in it.

    Raises:
        InputError: in all of them, if process 0 raises one; so with an OSError.
    """
    if num_processes() == 1:
        return do()
    value, error = None, None
    if is_first():
        try:
            value = do()
        except (InputError, OSError) as raised:
            error = raised
    names = {"InputError": InputError, "OSError": OSError}
    kind = None if error is None else "InputError" if isinstance(error, InputError) else "OSError"
    value, kind, message = _from_first((value, kind, str(error)))
    if error is not None:
        raise error
    if kind is not None:
        raise names[kind](message)
    return value


def _from_first(value: Any) -> Any:
    text = np.frombuffer(json.dumps(value).encode(), np.uint8)
    length = int(multihost_utils.broadcast_one_to_all(np.int32(len(text))))
    return json.loads(multihost_utils.broadcast_one_to_all(np.resize(text, length)).astype(np.uint8).tobytes())


def any_process(flag: bool) -> bool:
    """Say whether a flag is set in any process. All have to ask."""
    return flag if num_processes() == 1 else bool(multihost_utils.process_allgather(np.bool_(flag)).any())


def check_alike(values: Mapping[str, Any]) -> None:
    """Raise an InputError, in all processes, for values by name, as JSON or text, that are not the same in all of them."""
    if num_processes() == 1:
        return
    texts = [json.dumps(value, sort_keys=True, default=str) for value in values.values()]
    checksums = np.array([zlib.crc32(text.encode()) for text in texts], np.uint32)
    found = multihost_utils.process_allgather(checksums)
    if different := [name for name, column in zip(values, found.T, strict=True) if len(set(column.tolist())) > 1]:
        raise InputError(f"The processes of the run differ in {', '.join(different)}: give all the same settings and data.")


def local(tree: Any) -> Any:
    """Return whole the arrays that are on the devices of all processes: on one of this process, or in its memory if sharded."""
    if num_processes() == 1:
        return tree

    def one(leaf: jax.Array) -> Any:
        if leaf.is_fully_replicated:
            return leaf.addressable_data(0)
        return multihost_utils.process_allgather(leaf, tiled=True)

    return jax.tree.map(one, tree)


@contextlib.contextmanager
def lost_processes_told() -> Generator[None]:
    """Turn JAX's error where the connection to another process has closed into a `LostProcessError`; let all others through."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        reason = str(error).partition("\n")[0]  # below it may be the traceback of a user's own function
        if num_processes() == 1 or not any(sign in reason.lower() for sign in SIGNS_OF_LOSS):
            raise
        raise LostProcessError(
            f"Another process of the run has ended or cannot be reached ({reason}): process {jax.process_index()} of "
            f"{num_processes()} ends too. Start all of them again: the run goes on from its last checkpoint."
        ) from error
