"""Training on many devices: each takes its share of a batch, and holds all the rest, or its share of that too.

Arrays are global and the program is that of one device (`jax.jit` with shardings over a mesh): XLA adds what devices have to tell
each other. A batch is thus normalised as a whole, and the numbers are those of one device, up to the order of sums.
"""

import contextlib
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from gen_jax.train.hosts import num_processes
from gen_jax.train.loop import check_count
from gen_jax.types import BATCH_AXIS, InputError


class Devices(NamedTuple):
    """The devices of a run.

    Attributes:
        mesh: of one axis, over which batches are sharded.
        shard_params: shard parameters, their averages and the optimizer's moments too, for networks larger than one device.
    """

    mesh: Mesh
    shard_params: bool = False

    def use(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context in which programs are traced, so that `as_batch` shards."""
        return jax.set_mesh(self.mesh)

    def state_shardings(self, state: Any) -> Any:
        """Return how each array of a `TrainState` lies on the devices."""
        return jax.tree.map(lambda leaf: self._sharded(leaf.shape) if self.shard_params else self.replicated, state)

    def put(self, tree: Any, shardings: Any) -> Any:
        """Return arrays, which are the same in every process, as they are to lie on the devices."""
        if num_processes() == 1:
            return jax.device_put(tree, shardings)
        return jax.jit(lambda tree: tree, out_shardings=shardings)(tree)  # `device_put` would gather them, to compare

    def rows(self, batch_size: int) -> slice:
        """Return which examples of a batch the devices of this process take."""
        indices: Any = self.batch.addressable_devices_indices_map((batch_size,))
        parts = [index[0].indices(batch_size) for index in indices.values()]
        return slice(min(start for start, _, _ in parts), max(stop for _, stop, _ in parts))

    def put_rows(self, batches: Any) -> Any:
        """Return batches [S, B, ...], sharded along B, of which this process has read [S, B / processes, ...], its `rows`."""
        sharding = NamedSharding(self.mesh, PartitionSpec(None, BATCH_AXIS))
        if num_processes() == 1:
            return jax.device_put(batches, sharding)
        return jax.tree.map(lambda leaf: jax.make_array_from_process_local_data(sharding, leaf), batches)

    def _sharded(self, shape: Sequence[int]) -> NamedSharding:
        """Return the sharding by the longest axis that the devices divide; an array without one is replicated."""
        divided = [axis for axis, size in enumerate(shape) if size and size % self.mesh.size == 0]
        if not divided:
            return self.replicated
        longest = max(divided, key=lambda axis: shape[axis])
        return NamedSharding(self.mesh, PartitionSpec(*(BATCH_AXIS if axis == longest else None for axis in range(len(shape)))))

    @property
    def replicated(self) -> NamedSharding:
        """A copy on each device."""
        return NamedSharding(self.mesh, PartitionSpec())

    @property
    def batch(self) -> NamedSharding:
        """The first axis, of examples, sharded."""
        return NamedSharding(self.mesh, PartitionSpec(BATCH_AXIS))


def num_devices(batch_size: int, num: int | None = None) -> int:
    """Return the number of devices for batches of a size: `num`, or by default the largest that divides them.

    Of many processes each gives as many.

    Raises:
        InputError: `num` is no positive integer, there are fewer devices, or these do not divide the batch; or processes do not.
    """
    processes, there = num_processes(), len(jax.devices())
    each = min(Counter(device.process_index for device in jax.devices()).values())
    usable = [processes * n for n in range(1, each + 1)]
    divisors = [n for n in usable if batch_size % n == 0]
    if num is None and divisors:
        return max(divisors)
    if num is None:
        other = batch_size // processes * processes or processes
        raise InputError(f"The batch is of {batch_size}, which {processes} processes do not divide: give one of {other}.")
    check_count("devices", num)
    if num > there:
        raise InputError(f"devices is {num}, and there {'is 1' if there == 1 else f'are {there}'}: give no more.")
    if num not in usable:
        raise InputError(f"devices is {num}, of {processes} processes with {each} each: give {', '.join(map(str, usable))}.")
    if batch_size % num:
        other = batch_size // num * num or num
        give = f"{', '.join(map(str, divisors))}, or a batch of {other}" if divisors else f"a batch of {other}"
        raise InputError(f"devices is {num}, which does not divide the batch of {batch_size}: give {give}.")
    return num


def devices_for(batch_size: int, num: int | None = None, shard_params: bool = False) -> Devices | None:
    """Return the devices of `num_devices`; None for a single one.

    Raises:
        InputError: as `num_devices`; or parameters are to be sharded for one device.
    """
    num = num_devices(batch_size, num)
    if num == 1:
        if shard_params:
            raise InputError(
                f"shard_params is set, and one device of {len(jax.devices())} is used for batches of {batch_size}: leave it out, "
                "or give a batch that more of them divide."
            )
        return None
    processes = num_processes()
    used = [device for process in range(processes) for device in jax.local_devices(process_index=process)[: num // processes]]
    # `jax.make_mesh` may order them anew; `rows` needs those of a process side by side
    return Devices(Mesh(np.array(used), (BATCH_AXIS,), axis_types=(AxisType.Auto,)), shard_params)
