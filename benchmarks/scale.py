"""What scaling costs: many runs as one program, streaming from the host, and memory against the size of the data and K.

    python benchmarks/scale.py sweep | streaming | reading | memory [--rounds N] [--toy] [--save [FILE]]

- sweep: 16 seeds × 4 β of `vae`. Epochs alone, compiled once: all in one program, and one after the other; and as a user has
  them, compilation included: `train_many`, and `fit` for every run. Of these, how far the parameters of a member are from its own
  run's.
- streaming: steps a second of batches from the host through Grain, and of the data on the device: MNIST with the reference VAE,
  and a folder of 64 x 64 PNGs with a convolutional one.
- reading: images a second of such a folder that Grain reads, without a step: by threads, of which `Dataset.batches` has four, and
  by processes.
- memory: the peak of a fresh process for each cell: of a CPU, its resident set; of a GPU, what was in use on the device.

Each writes its own part of `benchmarks/results/scale.json`.
"""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from common import arguments, how, read, seconds_in_turn, write

import gen_jax
from gen_jax import tasks, train
from gen_jax.data import Dataset, Split, load_dataset
from gen_jax.nets import MLP, ConvDecoder, ConvEncoder
from gen_jax.recipes import RECIPES, change
from gen_jax.recipes.experiment import as_seen, fit_options
from gen_jax.recipes.settings import RUN, seed_key, with_number
from gen_jax.sweep import train_many
from gen_jax.types import VAE
from gen_jax.vae import bernoulli_likelihood, elbo_loss, gaussian_vae

SEED, RECIPE = 0, RECIPES["vae"]
BETAS = (0.5, 1.0, 2.0, 4.0)
EPOCHS = 5  # of each whole run
SIZE, NUM_IMAGES = 64, 2000
TRAIN_SIZES, EVALUATED, SAMPLES = (10_000, 40_000, 160_000), (100, 400, 1600), (10, 100, 1000)


def ratio(seconds: dict[str, list[float]], slow: str, fast: str) -> float:
    """Return how many times as long one takes, by medians."""
    return statistics.median(seconds[slow]) / statistics.median(seconds[fast])


def sweep(rounds: int, toy: bool) -> dict[str, Any]:
    """Time runs at once and in turn, and compare their parameters."""
    seeds, betas, epochs = (2, BETAS[:2], 1) if toy else (16, BETAS, EPOCHS)
    settings = change(RECIPE.settings, epochs=epochs, validate_every=epochs, num_importance_samples=1)
    if toy:
        settings = change(settings, epoch_steps=3)
    stored = load_dataset(settings.data, "none")
    experiment = RECIPE.build(settings, stored.event_shape)
    data = as_seen(stored, settings, experiment)
    epochs_alone = seconds_in_turn(epoch_programs(settings, data, seeds, betas), rounds)
    start = time.perf_counter()
    trained = train_many("vae", settings, num_seeds=seeds, vary={"beta": betas})
    jax.block_until_ready(trained.states)
    whole = {"at once": [time.perf_counter() - start], "in turn": [0.0]}
    differences = []
    for i, beta in enumerate(betas):
        for seed in range(seeds):
            start = time.perf_counter()
            own = change(settings, beta=beta, seed=seed)
            built = RECIPE.build(own, stored.event_shape)
            key, options = seed_key(seed, RUN), fit_options(built, own)
            fitted = gen_jax.fit(key, built.model, built.loss, as_seen(stored, own, built), **options)
            jax.block_until_ready(fitted.state)
            whole["in turn"][0] += time.perf_counter() - start
            member = jax.tree.map(lambda leaf, at=(i, seed): leaf[at], trained.states.params)
            differences.append(largest_difference(member, fitted.state.params))
    return {
        "runs": seeds * len(betas),
        "steps of a run": int(fitted.state.step),
        "seconds of an epoch of every run": epochs_alone,
        "ratio, epochs alone": ratio(epochs_alone, "in turn", "at once"),
        "seconds of the whole, compilation included": whole,
        "ratio, the whole": ratio(whole, "in turn", "at once"),
        "largest difference of a parameter from its own run's": max(differences),
        "its median over runs": statistics.median(differences),
    }


def epoch_programs(settings: Any, data: Dataset, seeds: int, betas: tuple[float, ...]) -> dict[str, Callable[[], Any]]:
    """Return an epoch of every run, at once and in turn; β is an argument, so that the runs in turn share a program."""
    examples, optimizer = data.train.on_device(), RECIPE.build(settings, data.event_shape).optimizer(10**6)

    def start(key: jax.Array) -> train.TrainState:
        return train.start(key, RECIPE.build(settings, data.event_shape).model, optimizer, data.event_shape)

    def epoch(beta: jax.Array, state: train.TrainState, key: jax.Array) -> tuple[train.TrainState, Any]:
        built = RECIPE.build(with_number(settings, "beta", beta), data.event_shape)
        step = train.make_step(train.on_stored(data.view, built.model, built.loss), optimizer)
        return train.scan_epoch(step, settings.batch_size, settings.epoch_steps)(state, examples, key)

    keys = jax.random.split(jax.random.key(SEED), seeds * len(betas))
    each = jnp.repeat(jnp.array(betas), seeds)
    many, one = jax.jit(jax.vmap(epoch), donate_argnums=1), jax.jit(epoch, donate_argnums=1)
    states, own = jax.jit(jax.vmap(start))(keys), [jax.jit(start)(key) for key in keys]

    def at_once() -> None:
        nonlocal states
        states, metrics = many(each, states, keys)
        jax.block_until_ready(metrics)

    def in_turn() -> None:
        for i, key in enumerate(keys):
            own[i], metrics = one(each[i], own[i], key)
            jax.block_until_ready(metrics)

    return {"at once": at_once, "in turn": in_turn}


def largest_difference(one: Any, two: Any) -> float:
    """Return the largest absolute difference of two trees of arrays."""
    return max(jax.tree.leaves(jax.tree.map(lambda a, b: float(np.abs(np.asarray(a) - np.asarray(b)).max()), one, two)))


def mlp_vae() -> VAE:
    """784-512-256-20, the decoder mirrored."""
    return gaussian_vae(MLP((512, 256), (2, 20)), MLP((256, 512), (28, 28, 1)), 20, bernoulli_likelihood())


def conv_vae(colours: int) -> VAE:
    """Four convolutions of 32 channels and two dense layers, 10 latents, the decoder mirrored."""
    encoder = ConvEncoder((32,) * 4, (256, 256), (2, 10))
    return gaussian_vae(encoder, ConvDecoder((32,) * 4, (256, 256), (SIZE, SIZE, colours)), 10, bernoulli_likelihood())


def streaming(rounds: int, toy: bool) -> dict[str, Any]:
    """Time training from the host and on the device."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder), 60 if toy else NUM_IMAGES, (SIZE, SIZE, 3))
        sources = {
            "MNIST, batch 128": (load_dataset("mnist-5k" if toy else "mnist", "dynamic"), mlp_vae(), 128),
            "a folder of 64 x 64 PNGs, batch 64": (
                load_dataset(f"folder:{folder}", "dynamic", stream=True),
                conv_vae(3),
                8 if toy else 64,
            ),
        }
        for name, (data, vae, batch) in sources.items():
            steps = min(3 if toy else 200, len(data.train.x) // batch)
            seconds = seconds_in_turn(stream_programs(data, vae, batch, steps), rounds)
            rates = {program: [steps / s for s in row] for program, row in seconds.items()}
            medians = {program: statistics.median(row) for program, row in rates.items()}
            found[name] = {"steps": steps, "steps a second": rates, "medians": medians}
            found[name]["ratio, streamed to on the device"] = medians["streamed"] / medians["on the device"]
    return found


def write_images(folder: Path, num: int, shape: tuple[int, ...]) -> None:
    """Write PNGs of noise, which take as long to read as any."""
    from PIL import Image

    generator = np.random.default_rng(SEED)
    for number in range(num):
        Image.fromarray(generator.integers(0, 256, shape, np.uint8)).save(folder / f"{number:06}.png")


def stream_programs(data: Dataset, vae: VAE, batch: int, steps: int) -> dict[str, Callable[[], Any]]:
    """Return an epoch from the host, and one of data on the device, of the same step."""
    optimizer = train.adam(1e-3)
    step = train.make_step(train.on_stored(data.view, vae, elbo_loss(vae)), optimizer)
    begin = jax.jit(lambda key: train.start(key, vae, optimizer, data.event_shape))
    streamed, held = begin(jax.random.key(SEED)), begin(jax.random.key(SEED))
    compiled = jax.jit(train.scan_batches(step), donate_argnums=0)
    epoch = jax.jit(train.scan_epoch(step, batch, steps), donate_argnums=0)
    examples, key = data.train.in_memory().on_device(), jax.random.key(1)

    def stream() -> None:
        nonlocal streamed
        rows = train.epoch_rows(jax.random.fold_in(key, streamed.step), len(data.train.x), batch, steps)
        streamed, _ = train.stream_epoch(compiled, streamed, data.batches(np.asarray(rows)), train.steps_per_call(steps))

    def hold() -> None:
        nonlocal held
        held, metrics = epoch(held, examples, jax.random.fold_in(key, held.step))
        jax.block_until_ready(metrics)

    return {"streamed": stream, "on the device": hold}


def reading(rounds: int, toy: bool) -> dict[str, Any]:
    """Time an epoch of reading, by so many threads, and by two processes, whose start is told apart."""
    import grain
    from absl import flags

    flags.FLAGS.mark_as_parsed()  # which Grain's processes ask for
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder), 60 if toy else NUM_IMAGES, (SIZE, SIZE, 3))
        x = load_dataset(f"folder:{folder}", "dynamic", stream=True).train.x
        order: Any = np.random.default_rng(SEED).permutation(len(x))

        def read(threads: int, processes: int = 0) -> tuple[float, float]:
            """Return the seconds of the first batch, and of the others."""
            images = grain.MapDataset.source(order).map(lambda row: {"x": x[int(row)]}).batch(6 if toy else 64)
            batches = images.to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=64))
            if processes:
                batches = batches.mp_prefetch(grain.MultiprocessingOptions(num_workers=processes))
            start, iterator = time.perf_counter(), iter(batches)
            next(iterator)
            first = time.perf_counter()
            for _ in iterator:
                pass
            return first - start, time.perf_counter() - first

        for name, workers in {**{f"{n} threads": (n,) for n in (1, 2, 4, 8)}, "2 processes": (1, 2)}.items():
            seconds = [read(*workers) for _ in range(rounds)]
            rates = [len(x) / (first + others) for first, others in seconds]
            found[name] = {"images a second": rates, "seconds to the first batch": [first for first, _ in seconds]}
            found[name] |= {
                "median": statistics.median(rates),
                "median to the first": statistics.median(found[name]["seconds to the first batch"]),
            }
    return found


def memory(rounds: int, toy: bool) -> dict[str, Any]:
    """Measure the peak of each cell in a process of its own."""
    sizes, nums, samples = ((200, 400), (4, 8), (2, 4)) if toy else (TRAIN_SIZES, EVALUATED, SAMPLES)
    cells = [(what, num, 0) for what in ("train", "train, streamed", "train, streamed from a folder") for num in sizes]
    cells += [("evaluate", num, k) for num in nums for k in samples]
    table: dict[str, Any] = {}
    for what, num, k in cells:
        call = [sys.executable, __file__, "cell", "--cell", json.dumps([what, num, k])]
        of_rounds = [json.loads(subprocess.run(call, check=True, capture_output=True, text=True).stdout) for _ in range(rounds)]
        name = f"{what}, {num} examples" + (f", K = {k}" if k else "")
        table[name] = {quantity: [one[quantity] for one in of_rounds] for quantity in of_rounds[0]}
        print(name, table[name], flush=True)
    return {"MiB": table, "stored": "uint8 images of 28 x 28; the VAE 784-512-256-20, batches of 128, 10 steps"}


def cell(what: str, num: int, num_samples: int) -> dict[str, float]:
    """Do one thing with so many examples, and return the peak of this process before and after it."""
    vae, key = mlp_vae(), jax.random.key(SEED)
    with tempfile.TemporaryDirectory() as folder:
        if what.endswith("folder"):
            write_images(Path(folder), num, (28, 28))
            data = load_dataset(f"folder:{folder}", "dynamic", stream=True)
        else:
            images = np.random.default_rng(SEED).integers(0, 2, (num, 28, 28, 1), np.uint8) * np.uint8(255)
            data = Dataset(Split(images), Split(images[:4]), Split(images[:4]))
        before = peak()
        if what == "evaluate":
            params = vae.init(key, jnp.zeros((28, 28, 1)))
            tasks.evaluate(vae, params, key, data.train, num_importance_samples=num_samples, view=data.view)
        else:
            options = {"epochs": 1, "batch_size": min(128, num // 10), "epoch_steps": 10, "stream": "streamed" in what}
            gen_jax.fit(key, vae, elbo_loss(vae), data, **options)
    return {"data": num * 28 * 28 / 2**20, "before": before, "peak": peak()}


def peak() -> float:
    """Return the most memory that was in use, in MiB: on the GPU, or of this process."""
    found = jax.devices()[0].memory_stats()
    return found["peak_bytes_in_use"] / 2**20 if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


MEASURES = {"sweep": sweep, "streaming": streaming, "reading": reading, "memory": memory}


def main() -> None:
    """Measure one of these, and keep what was measured of the others."""
    options = {
        "toy": {"action": "store_true", "help": "few and small: to see that it runs"},
        "cell": {"help": "of memory: what, the number of examples and K, as JSON"},
    }
    args = arguments(__doc__, rounds=5, what=[*MEASURES, "cell"], **options)
    if args.what == "cell":
        print(json.dumps(cell(*json.loads(args.cell))))
        return
    found = MEASURES[args.what](args.rounds, args.toy)
    print(json.dumps(found, indent=2))
    if args.save:
        write(args.save, read(args.save) | {"device": how()["device"], args.what: how() | found})


if __name__ == "__main__":
    main()
