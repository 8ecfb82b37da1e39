# %% [markdown]
# # 1 · Functions, keys, `vmap`, `jit`, `scan`
#
# A generative model in this library is a handful of *pure functions*: what they return depends on their arguments and on nothing
# else. This notebook builds the smallest one, by hand, and meets on the way the five ideas of JAX that all the others use:
#
# 1. arrays go in, arrays come out, and nothing is changed in place;
# 2. randomness is an argument, the **key**;
# 3. parameters are a **pytree**: arrays in dicts, tuples or named tuples;
# 4. `grad`, `vmap`, `jit` take a function and return a function;
# 5. a loop of steps is one program, `scan`.
#
# You need Python, NumPy and a little probability. Nothing here takes more than a few seconds on a CPU.

# %% [markdown]
# Where gen_jax is not installed yet, the next cell does it, from the repository that holds this notebook. In Colab, put a copy of the
# repository there first, and give its folder as `REPOSITORY`.

# %%
import importlib.util
import subprocess
import sys

REPOSITORY = ".."  # a folder, or an address that pip takes

if importlib.util.find_spec("gen_jax") is None:
    subprocess.run([sys.executable, "-m", "pip", "install", REPOSITORY], check=True)

# %%
import time

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import gen_jax
from gen_jax.data import Dataset, Split
from gen_jax.train import batch_mean
from gen_jax.types import DensityModel

plt.rcParams.update({"figure.figsize": (7, 3), "figure.dpi": 80, "axes.spines.top": False, "axes.spines.right": False})

# %% [markdown]
# ## Arrays do not change
#
# `jax.numpy` looks like NumPy. The difference that matters: an array, once made, stays what it is. An "update" is a new array.

# %%
x = jnp.arange(5.0)
y = x.at[0].set(100.0)
print(x, y)

# %% [markdown]
# This is why a function can be trusted with your arrays: it cannot change them behind your back. All of what follows depends on it.
#
# ## Randomness is an argument
#
# NumPy's generator has hidden state: call it twice, get two numbers. A pure function called twice with equal arguments must return
# equal results, so in JAX the state is an argument, the key.

# %%
key = jax.random.key(0)
print(jax.random.normal(key, (3,)))
print(jax.random.normal(key, (3,)))  # the same key, the same numbers

# %% [markdown]
# That was a demonstration: use a key once. For two independent draws, split it; for draw number $i$ of many, fold the number in.
# Nothing else is needed. (Do one or the other to a key, not both: `split` may number its keys as `fold_in` does.)

# %%
first, second = jax.random.split(jax.random.key(10))
print(jax.random.normal(first), jax.random.normal(second))
print([float(jax.random.normal(jax.random.fold_in(jax.random.key(11), i))) for i in range(3)])

# %% [markdown]
# The library trains so: step $t$ draws from `fold_in(key, t)`. A run that is killed at step 1,000 and started again draws at step
# 1,000 what it would have drawn, to the bit, and no state of a generator has to be saved.
#
# ## A model is functions and a pytree
#
# Let us fit a Gaussian with unknown mean and scale to data. Its parameters are a dict of arrays, and the model is a function of
# parameters and *one* example:
#
# $$\log p(x \mid \mu, s) = -\tfrac12 \left(\frac{x - \mu}{e^s}\right)^2 - s - \tfrac12 \log 2\pi$$


# %%
def log_prob(params, x):
    z = (x - params["mean"]) * jnp.exp(-params["log_scale"])
    return -0.5 * z**2 - params["log_scale"] - 0.5 * jnp.log(2 * jnp.pi)


params = {"mean": jnp.zeros(()), "log_scale": jnp.zeros(())}
print(log_prob(params, 1.0))

# %% [markdown]
# A pytree is walked by `jax.tree.map`; optimizers and checkpoints do nothing else with parameters.

# %%
jax.tree.map(lambda leaf: leaf + 1, params)

# %% [markdown]
# ## `vmap`: from one example to a batch
#
# `log_prob` takes one number. `jax.vmap` makes of it a function of many; `in_axes` says which arguments have an axis to map over:
# not the parameters, but the examples.

# %%
data = 2.0 + 0.5 * jax.random.normal(jax.random.key(1), (1000,))
per_example = jax.vmap(log_prob, in_axes=(None, 0))(params, data)
print(per_example.shape, per_example[:4])

# %% [markdown]
# That is the contract of this library: **functions take one example**, and `vmap` makes the batch. It is what makes per-example
# numbers, such as the ELBO of each image, one line instead of a rewrite.
#
# It is not a loop. `vmap` rewrites the operations inside, so that a product of a matrix and a vector becomes one product of two
# matrices. Beside it, a loop that is compiled too (`jax.lax.map`), and one in Python, most of whose time is Python's:

# %%
matrix = jax.random.normal(jax.random.key(12), (300, 300))
vectors = jax.random.normal(jax.random.key(13), (1000, 300))
one = jax.jit(lambda v: matrix @ v)
ways = {
    "vmap": jax.jit(jax.vmap(one)),
    "a compiled loop": jax.jit(lambda vectors: jax.lax.map(one, vectors)),
    "a loop in Python": lambda vectors: jnp.stack([one(v) for v in vectors]),
}
products = {}
for name, way in ways.items():
    way(vectors).block_until_ready()  # compiles
    start = time.perf_counter()
    products[name] = way(vectors).block_until_ready()
    print(f"{name}: {1e3 * (time.perf_counter() - start):.2f} ms")
print("largest difference:", float(jnp.abs(products["vmap"] - products["a loop in Python"]).max()))

# %% [markdown]
# ## `grad`: the gradient is a function too
#
# The loss is the mean negative log-likelihood. `jax.grad` returns the function that computes its gradient, as a pytree of the same
# structure as the parameters.


# %%
def loss(params, data):
    return -jax.vmap(log_prob, in_axes=(None, 0))(params, data).mean()


print(jax.grad(loss)(params, data))

# %% [markdown]
# Check it, as you should check every gradient that you rely on, against a difference quotient:

# %%
h = 1e-3
for name in params:
    up, down = ({**params, name: params[name] + sign * h} for sign in (1, -1))
    print(name, float((loss(up, data) - loss(down, data)) / (2 * h)))

# %% [markdown]
# ## A step of training is a function
#
# It takes the state and returns the next one. Gradient descent with step size $\eta$:
#
# $$\theta_{t+1} = \theta_t - \eta\, \nabla_\theta L(\theta_t)$$


# %%
def step(params, data, rate=0.1):
    value, grads = jax.value_and_grad(loss)(params, data)
    return jax.tree.map(lambda p, g: p - rate * g, params, grads), value


trained, values = params, []
for _ in range(200):
    trained, value = step(trained, data)
    values.append(float(value))
print({name: float(leaf) for name, leaf in trained.items()}, "wanted: 2, log 0.5 =", float(jnp.log(0.5)))

# %% [markdown]
# ## `jit`: compile once, run often
#
# The loop above sent operation after operation to the device. `jax.jit` *traces* the function once with abstract arrays, that have
# a shape and a type but no values, and compiles what it saw into one program. The next call with the same shapes runs the program.

# %%
fast_step = jax.jit(step)
start = time.perf_counter()
fast_step(params, data)[1].block_until_ready()
print(f"first call, which compiles: {1e3 * (time.perf_counter() - start):.0f} ms")
for name, function in {"jit": fast_step, "plain": step}.items():
    start = time.perf_counter()
    for _ in range(50):
        function(params, data)[1].block_until_ready()
    print(f"{name}: {1e3 * (time.perf_counter() - start) / 50:.3f} ms a step")

# %% [markdown]
# Because tracing sees no values, Python's `if` cannot look at one. This raises, and says why:


# %%
def relu(x):
    return x if x > 0 else 0.0


try:
    jax.jit(relu)(1.0)
except jax.errors.TracerBoolConversionError as error:
    print(type(error).__name__)
    print(str(error).splitlines()[0])

# %% [markdown]
# Say it as an array operation instead, `jnp.where(x > 0, x, 0.0)`, or as `jax.lax.cond`. And a side effect, such as `print` or
# appending to a list, happens when the function is traced, once, and not when the program runs. Pure functions have no such
# surprises.
#
# ## `scan`: the loop is part of the program
#
# A Python loop of compiled steps goes back to Python after each. `jax.lax.scan` carries the state through all steps in one program,
# and stacks what each step reports. An epoch in this library is one scan.


# %%
@jax.jit
def train(params, data):
    return jax.lax.scan(lambda params, _: step(params, data), params, length=200)


scanned, losses = train(params, data)
start = time.perf_counter()
train(params, data)[1].block_until_ready()
print(f"200 steps: {1e3 * (time.perf_counter() - start):.1f} ms")
np.testing.assert_allclose(losses, values, rtol=1e-5)  # the same losses as the loop

# %%
figure, (left, right) = plt.subplots(1, 2)
left.plot(losses)
left.set(xlabel="step", ylabel="mean −log p(x) (nats)")
grid = jnp.linspace(0, 4, 200)
right.hist(np.asarray(data), bins=40, density=True, color="0.8")
for name, p in {"before": params, "after": scanned}.items():
    right.plot(grid, jnp.exp(jax.vmap(log_prob, in_axes=(None, 0))(p, grid)), label=name)
right.set(xlabel="x", ylabel="density")
right.legend()
figure.tight_layout()

# %% [markdown]
# ## Functions of functions compose
#
# Everything so far can be combined, and this is where it pays. Sixteen runs from sixteen starting points, trained at once, are a
# `vmap` of the training itself:

# %%
keys = jax.random.split(jax.random.key(6), 16)
starts = jax.vmap(lambda key: {"mean": 3 * jax.random.normal(key), "log_scale": jnp.zeros(())})(keys)
many, many_losses = jax.jit(jax.vmap(train, in_axes=(0, None)))(starts, data)
print(many_losses.shape, "means:", np.round(many["mean"], 3))

# %%
plt.plot(many_losses.T, color="C0", alpha=0.4)
plt.yscale("log")
plt.xlabel("step")
plt.ylabel("mean −log p(x) (nats)")
plt.show()

# %% [markdown]
# ## The same thing in the library
#
# A `DensityModel` is a named tuple of pure functions, and `gen_jax.fit` runs the loop you have just written, with batches, Adam,
# validation and checkpoints. First the model: parameters from a key, and the density of one example.

# %%
gaussian = DensityModel(
    init=lambda key, x: {"mean": jnp.zeros(()), "log_scale": jnp.zeros(())},
    log_prob=lambda params, x, context=None: log_prob(params, x[0]),
    sample=lambda params, key, context=None: params["mean"][None] + jnp.exp(params["log_scale"]) * jax.random.normal(key, (1,)),
)

# %% [markdown]
# Then the loss, which is the mean over a batch of minus that density. `batch_mean` gives each example a key of its own, which this
# model does not need.


# %%
def objective(params, key, example):
    value = gaussian.log_prob(params, example.x)
    return -value, {"log_prob": value}


rows = np.asarray(data, np.float32)[:, None]
dataset = Dataset(Split(rows[:800]), Split(rows[800:900]), Split(rows[900:]))
fitted = gen_jax.fit(jax.random.key(0), gaussian, batch_mean(objective), dataset, epochs=60, batch_size=50, learning_rate=0.03)
print({name: float(leaf) for name, leaf in fitted.params.items()})

# %% [markdown]
# Samples are a function of parameters and a key, so a thousand of them are a `vmap` over keys:

# %%
draws = jax.vmap(gaussian.sample, in_axes=(None, 0))(fitted.params, jax.random.split(jax.random.key(5), 1000))
print("mean and standard deviation of draws:", float(draws.mean()), float(draws.std()))
print("of the data:                         ", float(data.mean()), float(data.std()))

# %% [markdown]
# ## Exercises
#
# **1.** Write the log-density of a Laplace distribution, $\log p(x) = -|x - \mu|/b - \log 2b$, as a function of one example, and
# fit it to `data` with a loop like `train`'s. Is its likelihood above or below the Gaussian's, and why?
#
# <details><summary>Solution</summary>
#
# ```python
# def laplace(params, x):
#     return -jnp.abs(x - params["mean"]) * jnp.exp(-params["log_scale"]) - params["log_scale"] - jnp.log(2.0)
#
# def laplace_loss(params):
#     return -jax.vmap(laplace, in_axes=(None, 0))(params, data).mean()
#
# def laplace_step(params, _):
#     value, grads = jax.value_and_grad(laplace_loss)(params)
#     return jax.tree.map(lambda p, g: p - 0.05 * g, params, grads), value
#
# fit, losses = jax.lax.scan(laplace_step, params, length=400)
# print(fit, -losses[-1], -values[-1])
# ```
#
# Below: the data are Gaussian, and no other distribution has a higher expected log-likelihood than the one they come from.
# </details>
#
# **2.** Compute the gradient of `log_prob` for every example by `jax.vmap(jax.grad(log_prob), in_axes=(None, 0))`. What is its
# mean at the trained parameters, and why?
#
# <details><summary>Solution</summary>
#
# ```python
# grads = jax.vmap(jax.grad(log_prob), in_axes=(None, 0))(scanned, data)
# print(jax.tree.map(jnp.mean, grads))
# ```
#
# Nearly zero: at a maximum of the mean log-likelihood its gradient, which is the mean of these, vanishes.
# </details>
#
# **3.** `train` returns the loss *before* each step. Change the step so that it also reports the norm of the gradient, without a
# second pass over the data.
#
# <details><summary>Solution</summary>
#
# ```python
# def reporting_step(params, data, rate=0.1):
#     value, grads = jax.value_and_grad(loss)(params, data)
#     norm = jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(grads)))
#     return jax.tree.map(lambda p, g: p - rate * g, params, grads), {"loss": value, "grad_norm": norm}
#
# _, metrics = jax.lax.scan(lambda params, _: reporting_step(params, data), params, length=200)
# print(metrics["grad_norm"][jnp.array([0, 50, 199])])
# ```
#
# It falls to 5e-7, the rounding of a gradient in float32, and stays there: the parameters have arrived.
# </details>
