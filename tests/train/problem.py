"""A small problem for the loop's tests: a noisy linear regression that trains in milliseconds."""

import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax import train

NUM_EXAMPLES, BATCH, STEPS = 24, 5, 4
DATA = np.random.default_rng(0).normal(size=(NUM_EXAMPLES, 4)).astype(np.float32)


def objective(params, key, x):
    noise = 0.1 * jax.random.normal(key, ())
    error = jnp.dot(params["w"], x) + params["b"] - jnp.sum(x) + noise
    return error**2, {"error": error}


def initial_state(optimizer, ema=True):
    params = {"w": jnp.zeros(4), "b": jnp.zeros(())}
    return train.init_state(params, optimizer, jax.random.key(3), ema)


def make_step(ema_decay=0.9, loss=None, learning_rate=1e-2):
    optimizer = train.adam(train.learning_rate_schedule("cosine", learning_rate, 100), clip_norm=1.0)
    return optimizer, train.make_step(loss or train.batch_mean(objective), optimizer, ema_decay)


def run(directory: Path | None, num_epochs: int, **options) -> train.Fitted:
    """Train on the problem in `directory` (or go on)."""
    optimizer, step = make_step(loss=options.pop("loss", None), learning_rate=options.pop("learning_rate", 1e-2))
    epoch = jax.jit(train.scan_epoch(step, BATCH), donate_argnums=0)
    data, order_key, before_epoch = jnp.asarray(DATA), jax.random.key(4), options.pop("before_epoch", lambda: None)

    def run_epoch(state, e):
        before_epoch()
        return epoch(state, data, jax.random.fold_in(order_key, e))

    options = {"validate": jax.jit(validate), "best_metric": "valid_score", **options}
    return train.run_epochs(initial_state(optimizer), run_epoch, num_epochs, directory, **options)


def validate(params):
    errors = jax.vmap(functools.partial(objective, params))(jax.random.split(jax.random.key(5), NUM_EXAMPLES), DATA)[0]
    return {"valid_score": -jnp.mean(errors)}


def digest(state) -> str:
    """All the bits of a state."""
    leaves = jax.tree.leaves(state._replace(key=jax.random.key_data(state.key)))
    return json.dumps([np.asarray(leaf).tobytes().hex() for leaf in leaves])
