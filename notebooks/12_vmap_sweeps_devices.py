# %% [markdown]
# # 12 · One program for many: examples, ensembles, sweeps, devices
#
# The library's functions take one example, one model and one key, and are pure. This notebook collects what that buys:
#
# - numbers of **each example**, by a `vmap` over examples;
# - an **ensemble**, by a `vmap` over parameters;
# - a **sweep** over seeds and settings, by a `vmap` over the whole training;
# - **many devices**, by shardings: the same program on eight of them.
#
# You should know notebooks 1 and 2.

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

# %% [markdown]
# A CPU shows itself to JAX as one device. For the last part we want eight, which must be said before JAX starts:

# %%
import os

os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"

# %%
import time

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import gen_jax
from gen_jax.data import load_dataset
from gen_jax.nets import MLP
from gen_jax.vae import bernoulli_likelihood, elbo_loss, elbo_terms, gaussian_vae

plt.rcParams.update({"figure.figsize": (7, 3), "figure.dpi": 80, "axes.spines.top": False, "axes.spines.right": False})
print(len(jax.devices()), "devices")

# %% [markdown]
# ## A small VAE
#
# The reference model, narrower, on the 5,000 digits that come with the package. `devices=1` for now.

# %%
data = load_dataset("mnist-5k", "dynamic")
vae = gaussian_vae(MLP((128,), (2, 10)), MLP((128,), (28, 28, 1)), 10, bernoulli_likelihood())
fitted = gen_jax.fit(jax.random.key(0), vae, elbo_loss(vae), data, epochs=15, batch_size=100, devices=1)
print("validation ELBO:", round(fitted.history[-1]["valid_elbo"], 2), "nats")

# %% [markdown]
# ## The ELBO of each example
#
# $$\mathrm{ELBO}(x) = \underbrace{\mathbb E_{q(z|x)} \log p(x|z)}_{-\text{distortion}} - \underbrace{\mathrm{KL}(q(z|x)\,\|\,p(z))}_{\text{rate}}$$
#
# `elbo_terms` is a function of the parameters, a key and one image. There is no batch version of it, because `vmap` is the batch
# version: the parameters are the same for all, and there is a key and an image for each. The expectation is estimated by one draw of
# z (the KL is exact), so the number of a single image has the noise of that draw.

# %%
test = data.test
images = jax.vmap(data.view.example)(jnp.asarray(test.x))
keys = jax.random.split(jax.random.key(1), len(images))
terms = jax.jit(jax.vmap(lambda key, x: elbo_terms(vae, fitted.params, key, x).metrics))(keys, images)
{name: (value.shape, round(float(value.mean()), 2)) for name, value in terms.items()}

# %% [markdown]
# Which digits cost most? The mean hides that a 1 and an 8 differ by a factor of two:

# %%
labels = np.asarray(test.labels)
figure, (left, right) = plt.subplots(1, 2)
left.scatter(terms["rate"], terms["distortion"], c=labels, cmap="tab10", s=8)
left.set(xlabel="rate (nats)", ylabel="distortion (nats)")
by_digit = [np.asarray(terms["elbo"])[labels == digit] for digit in range(10)]
right.boxplot(by_digit, tick_labels=range(10), showfliers=False)
right.set(xlabel="digit", ylabel="ELBO (nats)")
figure.tight_layout()

# %%
order = np.argsort(terms["elbo"])
figure, axes = plt.subplots(2, 8, figsize=(7, 2))
for row, (which, title) in zip(axes, ((order[:8], "lowest"), (order[::-1][:8], "highest")), strict=True):
    for axis, i in zip(row, which, strict=True):
        axis.imshow(images[i, ..., 0], cmap="gray")
        axis.axis("off")
    row[0].set_title(title, fontsize=9, loc="left")

# %% [markdown]
# The same for gradients. A batch's gradient is the mean of its examples'; their spread says how noisy a step is. This is the norm
# of the gradient of each of 100 examples, which a framework that only knows batches would need 100 backward passes for:


# %%
def negative_elbo(params, key, x):
    return -elbo_terms(vae, params, key, x).metrics["elbo"]


def gradient_norm(key, x):
    grads = jax.grad(negative_elbo)(fitted.params, key, x)
    return jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(grads)))


norms = jax.jit(jax.vmap(gradient_norm))(keys[:100], images[:100])
print("norm of one example's gradient: median", round(float(jnp.median(norms)), 1), "largest", round(float(norms.max()), 1))

# %% [markdown]
# ## Memory: `lax.map` with a batch size
#
# `vmap` computes all at once, so its memory grows with the number of examples. `jax.lax.map(..., batch_size=n)` is a loop over
# chunks of n, each of them a `vmap`: equal numbers, bounded memory. All estimates in `gen_jax.evaluate` are made that way.

# %%
chunked = jax.jit(
    lambda keys, images: jax.lax.map(
        lambda row: elbo_terms(vae, fitted.params, *row).metrics["elbo"], (keys, images), batch_size=100
    )
)(keys, images)
np.testing.assert_allclose(chunked, terms["elbo"], rtol=1e-4)

# %% [markdown]
# ## An ensemble: `vmap` over parameters
#
# Parameters are a pytree. Four of them, stacked leaf by leaf, are an ensemble, and a function of parameters is evaluated for all by
# `vmap`. First we need four. `train_many` is `fit` under a `vmap` over seeds:

# %%
from gen_jax.recipes import RECIPES, change
from gen_jax.sweep import sweep, train_many

settings = change(RECIPES["vae"].settings, hidden_sizes=(64,), latent_dim=8, epochs=10, epoch_steps=20)
start = time.perf_counter()
many = train_many("vae", settings, num_seeds=4)
print(f"four VAEs in {time.perf_counter() - start:.0f} s, compilation included")
print({name: leaf.shape for name, leaf in jax.tree_util.tree_leaves_with_path(many.variables)[:2]})

# %% [markdown]
# Leaves have two axes in front: values of settings (here one) and seeds. The ELBO of each test image under each member, a mean of 64
# draws, so that little noise is left in it:

# %%
members = jax.tree.map(lambda leaf: leaf[0], many.variables)
model = many.experiment.model
seen = jax.vmap(many.data.view.example)(jnp.asarray(many.data.test.x))


def elbo(params, keys, x):
    return jax.vmap(lambda key: elbo_terms(model, params, key, x).metrics["elbo"])(keys).mean()


draw_keys = jax.random.split(jax.random.key(3), (len(seen), 64))
elbos = jax.jit(jax.vmap(lambda params: jax.lax.map(lambda row: elbo(params, *row), (draw_keys, seen))))(members)
print(elbos.shape, "means of members:", np.round(elbos.mean(axis=1), 2))

# %% [markdown]
# As a mixture with equal weights, the ensemble has a bound too, $\log \frac14 \sum_m e^{\mathrm{ELBO}_m(x)}$, which is never below the
# mean of the members' bounds, by Jensen's inequality. How much is it worth?

# %%
mixture = jax.nn.logsumexp(elbos, axis=0) - jnp.log(len(elbos))
assert bool((mixture >= elbos.mean(axis=0) - 1e-3).all())
print("mean of members", round(float(elbos.mean()), 2), " best member", round(float(elbos.mean(axis=1).max()), 2))
print("mixture        ", round(float(mixture.mean()), 2))

# %% [markdown]
# ## A sweep: `vmap` over the training
#
# A setting that enters the step as a number, such as β or the learning rate, can be an axis too. `sweep` trains all combinations
# with all seeds in one program, and returns a row for each, with means and standard errors over seeds. It chooses by *validation*
# data; test numbers are there to report.

# %%
rows = sweep("vae", settings, num_seeds=2, vary={"learning_rate": (1e-3, 3e-3, 1e-2, 3e-2)})
for row in rows:
    print(
        f"learning rate {row['learning_rate']:g}: validation score {row['valid_score']:.2f} ± {row['valid_score_se']:.2f}",
        "← best" if row.get("best") else "",
    )

# %%
plt.errorbar(
    [row["learning_rate"] for row in rows],
    [row["valid_score"] for row in rows],
    [row["valid_score_se"] for row in rows],
    marker="o",
)
plt.xscale("log")
plt.xlabel("learning rate")
plt.ylabel("validation ELBO (nats)")
plt.show()

# %% [markdown]
# Here the best lies inside of the range; at an end of it, the range would have to go on. Two seeds do not tell the best two apart.
#
# What cannot be an axis is told in a sentence: a size changes the shape of arrays, so it needs a program of its own.

# %%
from gen_jax.types import InputError

try:
    sweep("vae", settings, num_seeds=1, vary={"latent_dim": (2, 8)})
except InputError as error:
    print(error)

# %% [markdown]
# ## Eight devices
#
# A *mesh* is an array of devices with named axes, and a *sharding* says how an array lies on it: whole on each, or cut along an
# axis. `jax.jit` then compiles one program for all of them, and adds what they have to tell each other. Cut the batch, leave the
# parameters whole, and the mean over the batch becomes a sum over devices:

# %%
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

mesh = jax.make_mesh((8,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
batch = jax.device_put(images[:64], NamedSharding(mesh, P("batch")))
whole = jax.device_put(fitted.params, NamedSharding(mesh, P()))
batch_keys = jax.device_put(keys[:64], NamedSharding(mesh, P("batch")))
mean_elbo = jax.jit(lambda params, keys, x: jax.vmap(lambda k, x: elbo_terms(vae, params, k, x).metrics["elbo"])(keys, x).mean())
print(
    "on eight:", float(mean_elbo(whole, batch_keys, batch)), " on one:", float(mean_elbo(fitted.params, keys[:64], images[:64]))
)

# %% [markdown]
# Each device holds eight of the 64 images, and the compiled program ends with an all-reduce:

# %%
print({shard.device.id: shard.data.shape for shard in batch.addressable_shards})
text = mean_elbo.lower(whole, batch_keys, batch).compile().as_text()
print([line.strip()[:90] for line in text.splitlines() if "all-reduce(" in line])

# %% [markdown]
# `fit` does this when there is more than one device: as many as there are and divide the batch, or as many as `devices` says. The
# global batch is what the setting says on any number of devices, and so are the numbers, up to the order in which sums are taken.

# %%
histories = {}
for num in (1, 8):
    run = gen_jax.fit(jax.random.key(0), vae, elbo_loss(vae), data, epochs=2, batch_size=96, epoch_steps=20, devices=num)
    histories[num] = [row["train_loss"] for row in run.history]
print(histories)
np.testing.assert_allclose(histories[1], histories[8], rtol=1e-5)

# %% [markdown]
# On one machine's CPU these eight devices share the same cores, so nothing is faster here. On eight GPUs the same two lines are
# data-parallel training; from the command line, `gen-jax train vae --devices 8`. With `shard_params=True` the parameters and the
# optimizer's moments are cut as well, for networks that do not fit on one device.

# %%
sharded = gen_jax.fit(
    jax.random.key(0), vae, elbo_loss(vae), data, epochs=1, batch_size=96, epoch_steps=20, devices=8, shard_params=True
)
for path, leaf in jax.tree_util.tree_leaves_with_path(sharded.state.params)[:4]:
    print(jax.tree_util.keystr(path), leaf.shape, leaf.sharding.spec)

# %% [markdown]
# ## Exercises
#
# **1.** The importance-weighted bound with K = 50 draws is a `vmap` over keys of one draw's log-weight. Compute it for the first
# 100 test images by `gen_jax.vae.log_weight`, which is $\log p(x|z) p(z) / q(z|x)$ for one draw of z, and compare its mean with
# that of the ELBO.
#
# <details><summary>Solution</summary>
#
# ```python
# from gen_jax.vae import log_weight
#
# def bound(key, x):
#     weights = jax.vmap(lambda key: log_weight(vae, fitted.params, key, x))(jax.random.split(key, 50))
#     return jax.nn.logsumexp(weights) - jnp.log(50)
#
# bounds = jax.jit(jax.vmap(bound))(keys[:100], images[:100])
# print(bounds.mean(), terms["elbo"][:100].mean())
# ```
#
# It is some nats higher: the logarithm of a mean is at least the mean of the logarithms, and more draws come closer to log p(x).
# </details>
#
# **2.** Sweep `learning_rate` and `beta` together, `vary={"learning_rate": (...), "beta": (...)}`, and draw the validation score as
# an image. Why must scores of different β not be compared?
#
# <details><summary>Solution</summary>
#
# ```python
# rates, betas = (3e-4, 1e-3, 3e-3), (0.5, 1.0, 2.0)
# rows = sweep("vae", settings, num_seeds=1, vary={"learning_rate": rates, "beta": betas})
# plt.imshow(np.array([row["valid_score"] for row in rows]).reshape(3, 3))
# ```
#
# The score is minus the loss, and the loss is distortion + β · rate: another β is another quantity. Compare `valid_elbo`.
# </details>
#
# **3.** Cut a matrix product over the mesh by hand: put a (64, 784) batch with `P("batch")` and a (784, 128) matrix whole on each
# device, multiply under `jit`, and read the sharding of the result. Then cut the matrix's columns instead of the batch.
#
# <details><summary>Solution</summary>
#
# ```python
# x = jax.device_put(jnp.ones((64, 784)), NamedSharding(mesh, P("batch")))
# w = jax.device_put(jnp.ones((784, 128)), NamedSharding(mesh, P()))
# print(jax.jit(jnp.matmul)(x, w).sharding.spec)
# x = jax.device_put(jnp.ones((64, 784)), NamedSharding(mesh, P()))
# w = jax.device_put(jnp.ones((784, 128)), NamedSharding(mesh, P(None, "batch")))
# print(jax.jit(jnp.matmul)(x, w).sharding.spec)
# ```
#
# The result is cut as the operand was: by rows, then by columns; no device needs anything of another.
# </details>
