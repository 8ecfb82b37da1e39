"""Data sets of TensorFlow Datasets."""

import difflib
from typing import Any

import numpy as np

from gen_jax.data.dataset import Dataset, LazyExamples, Split, three_parts
from gen_jax.types import InputError


def load_tfds(name: str) -> Dataset:
    """Return a data set of TensorFlow Datasets, whose images are read lazily."""
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise InputError(
            f"The data set {name} comes through TensorFlow Datasets, which is not installed: pip install '.[tfds]', in gen_jax's "
            "source folder, or set GEN_JAX_DATA_DIR to a folder that holds the files (for mnist and fashion_mnist)."
        ) from error
    try:
        builder: Any = tfds.builder(name, file_format="array_record")  # Any: its methods are wrapped in ways ty misreads
    except tfds.core.registered.DatasetNotFoundError as error:
        near = difflib.get_close_matches(name.split("/")[0], tfds.list_builders(), n=1)
        hint = f" Did you mean tfds:{near[0]}?" if near else ""
        raise InputError(f"TensorFlow Datasets has no data set {name!r}.{hint}") from error
    except Exception as error:  # a config or version that is not there, another file format: TFDS raises many types
        raise InputError(
            f"TensorFlow Datasets cannot open {name} ({_first_line(error)}). If it was prepared before as TFRecord, which "
            "cannot be read in any order, set TFDS_DATA_DIR to another folder."
        ) from error
    features = builder.info.features
    if features is None or "image" not in features or any(size is None for size in features["image"].shape):
        raise InputError(f"tfds:{name} has no feature 'image' of one fixed shape: choose an image data set.")
    if features["image"].np_dtype != np.uint8:
        raise InputError(
            f"The images of tfds:{name} are {features['image'].np_dtype.__name__}: choose a data set of 8-bit images."
        )
    try:
        builder.download_and_prepare()
    except Exception as error:  # the network, the disk, a checksum: TFDS names it, whichever it is
        raise InputError(f"TensorFlow Datasets could not prepare {name} ({_first_line(error)}).") from error

    def split(split_name: str) -> Split:
        source = builder.as_data_source(split_name)
        labels = None
        if "label" in features:
            plain = builder.as_data_source(split_name, decoders={"image": tfds.decode.SkipDecoding()})
            labels = np.array([plain[i]["label"] for i in range(len(plain))], np.int32)
        return Split(LazyExamples(len(source), lambda i: np.asarray(source[i]["image"])), labels)

    available = set(builder.info.splits)
    if "train" not in available:
        raise InputError(f"tfds:{name} has no split 'train', only {', '.join(sorted(available))}: choose another data set.")
    valid, test = (split(part) if part in available else None for part in ("validation", "test"))
    return three_parts(split("train"), valid, test)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
