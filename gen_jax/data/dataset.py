"""A data set: examples in three splits, as arrays on the host, and how a model sees them."""

import dataclasses
import functools
import hashlib
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from gen_jax.types import Array, InputError, Key

Binarisation = Literal["dynamic", "fixed", "threshold", "none"]
BINARISATION = 1  # folded into the key of a seed: binarisation before training shares no stream with the rest of a run


class Split(NamedTuple):
    """Examples along the first axis; a batch, and one example without that axis, are `Split`s too.

    Attributes:
        x: [N, *event], as stored: uint8 (0…255 stands for [0, 1]), float32, or what `DataView.read` reads; or a sequence that
            reads such examples one by one.
        labels: [N] int32, or None.
    """

    x: Any
    labels: Any = None

    def on_device(self) -> "Split":
        """Return the split as JAX arrays."""
        return jax.tree.map(jnp.asarray, self)

    def in_memory(self) -> "Split":
        """Return the split with every example read into one array."""
        if isinstance(self.x, np.ndarray):
            return self
        return Split(check_array(np.stack([self.x[i] for i in range(len(self.x))]), "The data set"), self.labels)

    def fingerprint(self) -> str:
        """Return the length and the CRC-32 of the labels and of examples in memory, which identify the split."""
        arrays = [array for array in (self.x, self.labels) if isinstance(array, np.ndarray | jax.Array)]
        checksum = functools.reduce(lambda crc, array: zlib.crc32(np.ascontiguousarray(array).tobytes(), crc), arrays, 0)
        return f"{len(self.x)}, crc32 {checksum:08x}" if arrays else str(len(self.x))


@dataclasses.dataclass(frozen=True)
class LazyExamples:
    """A sequence of `num` examples, each read when it is indexed."""

    num: int
    read: Callable[[int], np.ndarray]

    def __len__(self) -> int:
        return self.num

    def __getitem__(self, i: int) -> np.ndarray:
        return self.read(int(i))


def to_unit(x: Array | np.ndarray) -> Float[Array, "..."]:
    """Return stored pixels as float32: uint8 divided by 255, floats unchanged."""
    pixels = jnp.asarray(x)
    # a product, since it is rounded alike on every device, and 255 becomes 1; a GPU's division gives 0.99999994
    return pixels.astype(jnp.float32) * (1 / 255) if pixels.dtype == jnp.uint8 else pixels


def binarise(mode: Binarisation, key: Key, intensity: Float[Array, "..."]) -> Float[Array, "..."]:
    """Binarise one image of intensities in [0, 1].

    - dynamic, fixed: x_i ~ Bernoulli(intensity_i), drawn with `key` (Salakhutdinov & Murray 2008); dynamic at every step, fixed
      once for the whole run.
    - threshold: x_i = 1 where the intensity is at least ½.
    - none: the intensities themselves.
    """
    match mode:
        case "dynamic" | "fixed":
            return jax.random.bernoulli(key, intensity).astype(jnp.float32)
        case "threshold":
            return (intensity >= 0.5).astype(jnp.float32)
        case "none":
            return intensity


class DataView(NamedTuple):
    """How a model sees stored examples.

    Attributes:
        read: stored example -> float32 of the event's shape.
        binarise: how training binarises the intensities.
        symmetric: scale [0, 1] to [−1, 1] for the model, as for a generator that ends in a tanh.
        check: (stored examples, a name for them) -> None; raises an InputError for values that the model cannot take.
    """

    read: Callable[[Any], Array] = to_unit
    binarise: Binarisation = "none"
    symmetric: bool = False
    check: Callable[[np.ndarray, str], None] = lambda x, where: None

    def to_model(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """Scale from the data's range to the model's."""
        return 2 * x - 1 if self.symmetric else x

    def from_model(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """Scale from the model's range to the data's; generated values outside of [−1, 1] are clipped."""
        return jnp.clip((x + 1) / 2, 0, 1) if self.symmetric else x

    def example(self, stored: Any) -> Float[Array, "..."]:
        """Return one stored example as the model sees it in an evaluation."""
        return self.to_model(self.read(stored))

    def examples(self, stored: Split) -> Split:
        """Return stored examples as the model sees them in an evaluation."""
        return Split(jax.vmap(self.example)(stored.x), stored.labels)

    def training_examples(self, key: Key, stored: Split) -> Split:
        """Return a batch of stored examples as the model sees them at a training step."""
        mode: Binarisation = "none" if self.binarise == "fixed" else self.binarise  # fixed was drawn before training

        def one(key: Key, x: Any) -> Array:
            return self.to_model(binarise(mode, key, self.read(x)))

        return Split(jax.vmap(one)(jax.random.split(key, len(stored.x)), stored.x), stored.labels)


class Factors(NamedTuple):
    """What is known of how each example was made: whole numbers [N, F] of each split, which no batch carries.

    Attributes:
        names: of the F factors.
        train: of the training examples.
        valid: of the validation examples.
        test: of the test examples.
    """

    names: tuple[str, ...]
    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray


class Dataset(NamedTuple):
    """Training, validation and test examples.

    Attributes:
        train: examples to train on.
        valid: examples for choices, such as the best checkpoint.
        test: examples for reported numbers.
        view: how a model sees them.
        name: as `load_dataset` takes it.
        factors: of the examples, where they are known.

    Examples:
        >>> import numpy as np
        >>> from gen_jax.data import Dataset, Split
        >>> x = np.random.default_rng(0).random((60, 28, 28, 1), np.float32)  # your own arrays
        >>> data = Dataset(train=Split(x[:40]), valid=Split(x[40:50]), test=Split(x[50:]))
        >>> data.event_shape, len(data.train.x)
        ((28, 28, 1), 40)
    """

    train: Split
    valid: Split
    test: Split
    view: DataView = DataView()
    name: str = ""
    factors: Factors | None = None

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one example."""
        return jax.eval_shape(self.view.read, np.asarray(self.test.x[0])).shape

    @property
    def splits(self) -> dict[str, Split]:
        """The three splits by name."""
        return {"train": self.train, "valid": self.valid, "test": self.test}

    def fingerprints(self) -> dict[str, str]:
        """Return the fingerprint of each split."""
        return {name: split.fingerprint() for name, split in self.splits.items()}

    def binarised(self, mode: Binarisation, seed: int = 0, train: bool = False) -> "Dataset":
        """Return the data set with a binarisation.

        Validation and test examples are binarised here, once, each with its own key; training examples too if the mode is `fixed`
        or if they are to be evaluated (`train`). Sprites, which are black and white, stay as they are.

        Raises:
            InputError: intensities outside [0, 1], or examples to binarise here that are streamed.
        """
        data = self._replace(view=self.view._replace(binarise=mode))
        if mode == "none" or self.view.read is not to_unit:
            return data
        root, drawn = jax.random.fold_in(jax.random.key(seed), BINARISATION), {}
        for i, (name, split) in enumerate(self.splits.items()):
            now = name != "train" or train or mode == "fixed"
            if not isinstance(split.x, np.ndarray):
                if now:
                    raise InputError(
                        "Streamed examples cannot be binarised once and kept: use --binarise dynamic, threshold or none."
                    )
            elif not in_unit_interval(split.x):
                raise InputError(
                    f"The {name} examples of {self.name} range from {split.x.min():g} to {split.x.max():g}, which are not "
                    "intensities in [0, 1]: scale them, or use --binarise none."
                )
            if now:
                x = _binarise_all(mode, jax.random.fold_in(root, i), jnp.asarray(split.x))
                drawn[name] = Split(np.asarray(x), split.labels)
        return data._replace(**drawn)

    def batches(self, rows: np.ndarray) -> Iterator[Split]:
        """Stream the training batches of the row numbers `rows` [S, B] from the host, through Grain.

        They are read by threads, ahead of the step that takes them: whole batches of an array, else single examples.
        """
        import grain

        x, labels = self.train.x, self.train.labels
        of_batches: Any = rows  # Grain's type is a sequence
        if isinstance(x, np.ndarray):
            batches = grain.MapDataset.source(of_batches).map(lambda batch: {"row": batch, "x": x[batch]})
        else:
            examples = grain.MapDataset.source(of_batches.reshape(-1)).map(lambda row: {"row": row, "x": x[int(row)]})
            batches = examples.batch(rows.shape[1])
        for batch in batches.to_iter_dataset(grain.ReadOptions(num_threads=4, prefetch_buffer_size=64)):
            yield Split(batch["x"], None if labels is None else labels[batch["row"]])


@functools.partial(jax.jit, static_argnums=0)
def _binarise_all(mode: Binarisation, key: Key, x: Array) -> Array:
    def one(row: tuple[Array, Array]) -> Array:
        index, image = row
        return (255 * binarise(mode, jax.random.fold_in(key, index), to_unit(image))).astype(jnp.uint8)

    return jax.lax.map(one, (jnp.arange(len(x)), x), batch_size=256)


def in_unit_interval(x: np.ndarray) -> bool:
    """Return whether stored examples are in [0, 1] once they are read, as all integers are."""
    return x.dtype.kind in "ui" or bool(x.min() >= 0 and x.max() <= 1)


def split_rows(x: Any, labels: np.ndarray | None, parts: Sequence[np.ndarray]) -> list[Split]:
    """Return a split for each array of row numbers."""

    def rows(part: np.ndarray) -> Any:
        return x[part] if isinstance(x, np.ndarray) else LazyExamples(len(part), lambda i: x[int(part[i])])

    return [Split(rows(part), None if labels is None else labels[part]) for part in parts]


def random_parts(num_examples: int, sizes: Sequence[int]) -> list[np.ndarray]:
    """Shuffle 0…N−1 in an order that never changes, and cut it into the rest, which comes first, and parts of these sizes."""
    order = _shuffled(np.arange(num_examples))
    return np.split(order, np.cumsum([num_examples - sum(sizes), *sizes])[:-1])


def _shuffled(rows: np.ndarray) -> np.ndarray:
    """Return row numbers in the order of their hashes, which is the same under every version of every library."""
    return np.array(sorted(rows, key=lambda row: hashlib.sha256(str(row).encode()).digest()), rows.dtype)


def stratified_parts(labels: np.ndarray, sizes: Sequence[int]) -> list[np.ndarray]:
    """Do as `random_parts` within each class, where `sizes` counts the examples per class, and shuffle the classes."""
    parts_of_class = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        parts_of_class.append([rows[part] for part in random_parts(len(rows), sizes)])
    return [_shuffled(np.concatenate(parts)) for parts in zip(*parts_of_class, strict=True)]


def check_array(x: np.ndarray, where: str) -> np.ndarray:
    """Return examples as uint8 or float32, and [N, H, W] as [N, H, W, 1].

    Raises:
        InputError: no examples, no event axis, a dtype that is not numeric, integers outside 0…255, or a NaN or infinity.
    """
    if x.ndim < 2 or x.size == 0:
        raise InputError(f"{where} has shape {x.shape}: give examples along the first axis, [N, ...], and no axis of size 0.")
    if x.ndim == 3:
        x = x[..., None]
    if x.dtype.kind in "bui":
        low, high = x.min(), x.max()
        if low < 0 or high > 255:
            raise InputError(f"{where} holds integers from {low} to {high}: give pixels in 0…255 (or 0 and 1).")
        return x.astype(np.uint8)
    if x.dtype.kind != "f":
        raise InputError(f"{where} has dtype {x.dtype}: give integers in 0…255 or floats.")
    with np.errstate(over="ignore"):
        x = x.astype(np.float32)
    if not np.isfinite(x).all():
        bad = int(np.argwhere(~np.isfinite(x).reshape(len(x), -1).all(axis=1))[0, 0])
        raise InputError(f"{where} holds a NaN or a number too large for float32, first in example {bad}: remove or correct it.")
    return x


def three_parts(train: Split, valid: Split | None, test: Split | None) -> Dataset:
    """Take missing parts from the training examples: a tenth of them each, at most 5,000."""
    if valid is not None and test is not None:
        return Dataset(train, valid, test)
    num = len(train.x)
    if num < 3:
        raise InputError(f"{num} training examples are too few to take validation or test examples from: give 3 or more.")
    tenth = min(5000, max(1, num // 10))
    sizes = [tenth for part in (valid, test) if part is None]
    rest, *taken = split_rows(train.x, train.labels, random_parts(num, sizes))
    return Dataset(rest, valid or taken[0], test or taken[-1])
