# %% [markdown]
# # 7 · MADE: a density by masks
#
# Any distribution of binary vectors is a product of conditionals,
#
# $$p(x) = \prod_{i=1}^D p(x_i \mid x_1, \dots, x_{i-1}).$$
#
# MADE, the masked autoencoder for distribution estimation (Germain et al. 2015, arXiv:1502.03509), computes all $D$ of them in one
# pass of one network. Masks on its weights see to it that output $i$ depends on inputs before $i$ only. This notebook
#
# 1. builds the masks by hand, and proves by gradients and by counting paths that they do what they should;
# 2. sums $p(x)$ over all inputs;
# 3. changes the ordering, and mixes several;
# 4. trains on binarised digits, draws them pixel by pixel, and completes halves of digits;
# 5. checks completions against the exact conditional.

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
import itertools
import time

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import gen_jax
from gen_jax import made, tasks
from gen_jax.data import load_dataset
from gen_jax.densities import density_loss, with_event_shape
from gen_jax.train import validation
from gen_jax.types import Variables

plt.rcParams.update({"figure.figsize": (7, 3), "figure.dpi": 80, "axes.spines.top": False, "axes.spines.right": False})

# %% [markdown]
# ## Masks from degrees
#
# Give every unit a *degree*. Input $i$ has degree $i$, its place in the ordering. A hidden unit gets a degree $m$ from 1 to $D - 1$:
# it may depend on the first $m$ inputs. Then
#
# - a hidden unit of degree $m$ sees units of the layer below of degree $\leq m$;
# - output $i$ sees hidden units of degree $< i$.
#
# Along any path the degree never falls, and the last step raises it. So a path leads from input $j$ to output $i$ only if $j < i$.
# The smallest picture of this: five inputs and two hidden layers of eight units.

# %%
D = 5
degrees = [jnp.arange(1, D + 1), 1 + jnp.arange(8) % (D - 1), 1 + jnp.arange(8) % (D - 1)]


def masks_from(degrees):
    """Return the masks of the layers, [units below, units]: those of the hidden layers, then that of the outputs."""
    hidden = [above[None, :] >= below[:, None] for below, above in itertools.pairwise(degrees)]
    return [*hidden, degrees[0][None, :] > degrees[-1][:, None]]


masks = masks_from(degrees)
paths = masks[0].astype(int) @ masks[1].astype(int) @ masks[2].astype(int)
print(paths.T)

# %% [markdown]
# The product of the masks counts paths. Row $i$ of what was printed is output $i$, column $j$ is input $j$: below the diagonal there
# are many paths, on it and above it none. This holds for all weights and all inputs.

# %%
figure, axes = plt.subplots(1, 4, figsize=(8.5, 2.6))
titles = ("hidden 1 ← inputs", "hidden 2 ← hidden 1", "outputs ← hidden 2", "paths, outputs ← inputs")
for axis, matrix, title in zip(axes, [*masks, paths], titles, strict=True):
    axis.imshow(matrix.T, cmap="Greys" if title != titles[3] else "Blues")
    axis.set_title(title, fontsize=9)
    axis.set(xticks=range(matrix.shape[0]), yticks=range(matrix.shape[1]))
    axis.tick_params(labelsize=7, length=0)
names = [[int(m) for m in layer] for layer in degrees]
for axis, rows, columns in ((axes[0], 1, 0), (axes[1], 2, 1), (axes[2], 0, 2), (axes[3], 0, 0)):
    axis.set(xticklabels=names[columns], yticklabels=names[rows])
figure.supylabel("degree", fontsize=9)
figure.tight_layout()

# %% [markdown]
# Black: a connection. Ticks are degrees. The first row of "outputs ← hidden 2" is empty: output 1 depends on nothing, and is its
# bias, $p(x_1)$. The last input, of degree 5, is seen by nobody, and no unit needs it.
#
# ## The network, and gradients as the proof
#
# The network is an MLP whose weights are multiplied by the masks. Its outputs are logits:
#
# $$h^{(l)} = \tanh\!\big((W^{(l)} \odot M^{(l)})^\top h^{(l-1)} + b^{(l)}\big), \qquad p(x_i = 1 \mid x_{<i}) = \sigma(\text{logit}_i).$$


# %%
def init(key, sizes, scale=1.0):
    keys = jax.random.split(key, len(sizes) - 1)
    return [
        (scale * jax.random.normal(k, (i, o)) / jnp.sqrt(i), 0.3 * jax.random.normal(k, (o,)))
        for k, i, o in zip(keys, sizes[:-1], sizes[1:], strict=True)
    ]


def logits(params, masks, x):
    *hidden, (weight, bias) = params
    for (w, b), mask in zip(hidden, masks[:-1], strict=True):
        x = jnp.tanh(x @ (w * mask) + b)
    return x @ (weight * masks[-1]) + bias


params = init(jax.random.key(0), (D, 8, 8, D), scale=2.0)
x = jnp.array([1.0, 0.0, 1.0, 1.0, 0.0])
jacobian = jax.jacobian(logits, argnums=2)(params, masks, x)
print(np.asarray(jacobian).round(2))

# %% [markdown]
# $\partial\, \text{logit}_i / \partial x_j$ is exactly zero for $j \geq i$: the Jacobian is *strictly* lower triangular. The same
# network without masks is an autoencoder, and its Jacobian is full.

# %%
free = [jnp.ones_like(mask) for mask in masks]
full = jax.jacobian(logits, argnums=2)(params, free, x)
assert np.all(np.triu(jacobian) == 0)
assert np.all(jacobian[np.tril_indices(D, -1)] != 0)

figure, axes = plt.subplots(1, 2, figsize=(5.5, 2.4))
for axis, matrix, title in zip(axes, (jacobian, full), ("with masks", "without"), strict=True):
    axis.imshow(np.abs(matrix) > 0, cmap="Greys", vmin=0, vmax=1)
    axis.set(title=f"∂ logit / ∂ x ≠ 0, {title}", xlabel="input", ylabel="output", xticks=range(D), yticks=range(D))
    axis.title.set_fontsize(9)
figure.tight_layout()

# %% [markdown]
# A gradient at one input says what happens there; the path count says it everywhere. As a test of code the gradient is better: it
# looks at what the program computes and not at what its author believed. Three inputs at random are enough to find almost any error:

# %%
for key in jax.random.split(jax.random.key(1), 3):
    at = jax.random.normal(key, (D,))
    assert np.all(np.triu(jax.jacobian(logits, argnums=2)(params, masks, at)) == 0)

# %% [markdown]
# ## It sums to one
#
# $\log p(x) = \sum_i \log p(x_i \mid x_{<i})$. From logits $l$, stably: $\log p(x_i) = x_i l_i - \log(1 + e^{l_i})$. Ten binary
# dimensions have $2^{10} = 1024$ values, and all can be listed.


# %%
def log_prob(params, masks, x):
    out = logits(params, masks, x)
    return jnp.sum(x * out - jax.nn.softplus(out))


D = 10
every = jnp.array([[(n >> (D - 1 - i)) & 1 for i in range(D)] for n in range(2**D)], jnp.float32)
ten_degrees = [jnp.arange(1, D + 1), *(1 + jnp.arange(24) % (D - 1) for _ in range(2))]
ten_masks = masks_from(ten_degrees)
ten_params = init(jax.random.key(2), (D, 24, 24, D), scale=3.0)

density = jax.vmap(log_prob, in_axes=(None, None, 0))
masked = float(jnp.exp(density(ten_params, ten_masks, every)).sum())
unmasked = float(jnp.exp(density(ten_params, [jnp.ones_like(mask) for mask in ten_masks], every)).sum())
print(f"Σ p(x) over {len(every)} inputs: {masked:.6f} with masks, {unmasked:.3f} without")
np.testing.assert_allclose(masked, 1, atol=1e-5)

# %% [markdown]
# It has to be 1 whatever the weights are: sum first over $x_D$, which appears in the last factor alone and gives 1, then over
# $x_{D-1}$, and so on. Without masks this fails, because $x_D$ is then in every factor. That is why the cross-entropy of an ordinary
# autoencoder is not a log-likelihood.
#
# ## The same by the library
#
# `made.made` takes the number of dimensions, the widths, and the kind of conditionals. Degrees are an *argument* of its functions, so
# that other masks need no new compilation. With the library's parameters, the by-hand function gives the same numbers:

# %%
model = made.made(D, (24, 24), made.bernoulli_output(), activation=jnp.tanh)
library_params = model.init(jax.random.key(3))
layers = [(w["kernel"], w["bias"]) for w in (library_params["params"][name] for name in ("hidden_0", "hidden_1", "output"))]
by_hand_masks = masks_from([jnp.asarray(layer) for layer in (model.degrees.inputs, *model.degrees.hidden)])

by_library = jax.vmap(lambda x: model.log_prob(library_params, model.degrees, x))(every)
by_hand = density(layers, by_hand_masks, every)
print("largest difference over all inputs:", float(jnp.abs(by_library - by_hand).max()))
np.testing.assert_allclose(by_library, by_hand, atol=1e-4)

# %% [markdown]
# The factors are there too: `conditionals` returns $\log p(x_i \mid x_{<i})$ of each dimension, whose sum is $\log p(x)$.

# %%
parts = model.conditionals(library_params, model.degrees, every[700])
print(np.asarray(parts).round(3), "sum", float(parts.sum()), "log p(x)", float(by_library[700]))
np.testing.assert_allclose(parts.sum(), by_library[700], rtol=1e-5)

# %% [markdown]
# ## Orderings
#
# Nothing says that $x_1$ comes first. An ordering is a permutation of the inputs' degrees, and the masks follow. `with_ordering`
# takes the dimensions in the order in which they come.

# %%
order = np.array([6, 2, 9, 0, 4, 8, 1, 7, 3, 5])
other = made.with_ordering(model.degrees, order)
print("degrees of the inputs:", other.inputs)


def gradients(degrees, x):
    return jax.jacobian(lambda x: model.conditionals(library_params, degrees, x))(x)


# %% [markdown]
# `conditionals` is $\log p(x_i \mid x_{<i})$, which depends on $x_i$ too, so here the Jacobian has a diagonal. As it is stored it
# looks like noise; with rows and columns in the order of the degrees it is triangular again.

# %%
jacobian = gradients(other, jnp.full(D, 1.0))
figure, axes = plt.subplots(1, 2, figsize=(5.5, 2.4))
for axis, matrix, title in zip(axes, (jacobian, jacobian[order][:, order]), ("as stored", "in the ordering"), strict=True):
    axis.imshow(np.abs(matrix) > 0, cmap="Greys", vmin=0, vmax=1)
    axis.set(title=title, xlabel="x", ylabel="log p", xticks=[], yticks=[])
assert np.all(np.triu(jacobian[order][:, order], 1) == 0)

# %% [markdown]
# The same weights under two orderings are two different densities: each sums to 1, and they disagree on $x$. A model trained under
# many orderings is evaluated as their *mixture*,
#
# $$\log p(x) = \log \frac{1}{M} \sum_{m=1}^M p_m(x).$$
#
# A mean of densities is a density. A mean of logits of different orderings is not: $x_i$ then leaks into its own prediction through
# the other ordering. Both sums, for eight random masks and weights made ten times as large, so that it shows:

# %%
masks_of = made.shuffled_masks(jax.random.key(4), model.degrees)
mixture = made.ensemble(model, masks_of, num_masks=8)
mixed = mixture.init(jax.random.key(5))
large = jax.tree.map(lambda leaf: 10 * leaf, mixed.params)
mixed = Variables(large, mixed.state)

of_mixture = jax.vmap(lambda x: mixture.log_prob(mixed, x))(every)
each = jnp.stack([jax.vmap(lambda x, m=m: model.log_prob(large, masks_of(m), x))(every) for m in range(8)])
np.testing.assert_allclose(of_mixture, jax.nn.logsumexp(each, axis=0) - jnp.log(8.0), atol=1e-3)


def logits_under(degrees, x):
    """Return the logits of x_i = 1: with p = p(x_i | x_<i), log p − log(1 − p) where x_i is 1, and minus that where it is 0."""
    log_p = model.conditionals(large, degrees, x)
    return (2 * x - 1) * (log_p - jnp.log(-jnp.expm1(jnp.minimum(log_p, -1e-7))))


def averaged(x):
    out = jnp.stack([logits_under(masks_of(m), x) for m in range(8)]).mean(0)
    return jnp.sum(x * out - jax.nn.softplus(out))


print(f"Σ p(x) of the mixture:      {jnp.exp(of_mixture).sum():.5f}")
print(f"Σ 'p(x)' of averaged logits: {jnp.exp(jax.vmap(averaged)(every)).sum():.3f}")
np.testing.assert_allclose(jnp.exp(of_mixture).sum(), 1, atol=1e-4)

# %% [markdown]
# ## Drawing, one dimension after another
#
# To draw, the order matters: $x_1$ from its marginal, $x_2$ given $x_1$, and so on. By hand this is $D$ passes of the whole network,
# of each of which one output is used:


# %%
def draw_by_hand(params, masks, uniform):
    def step(i, x):
        return x.at[i].set(uniform[i] < jax.nn.sigmoid(logits(params, masks, x)[i]))

    return jax.lax.fori_loop(0, len(uniform), step, jnp.zeros(len(uniform)))


num_draws = 20_000
uniforms = jax.random.uniform(jax.random.key(6), (num_draws, D))
draws = jax.jit(jax.vmap(draw_by_hand, in_axes=(None, None, 0)))(ten_params, ten_masks, uniforms)
index = (draws @ 2.0 ** jnp.arange(D - 1, -1, -1)).astype(int)
frequencies = jnp.bincount(index, length=2**D) / num_draws
exact = jnp.exp(density(ten_params, ten_masks, every))
print("total variation distance to p:", float(jnp.abs(frequencies - exact).sum() / 2))
print("expected of exact draws:      ", float(jnp.sqrt(2 * exact * (1 - exact) / (np.pi * num_draws)).sum() / 2))
np.testing.assert_allclose(jnp.abs(frequencies - exact).max(), 0, atol=0.015)

# %% [markdown]
# (The expected distance is that of frequencies which are normal about $p$; where $p(x)$ is tiny the approximation is a little high.)
#
# The library's `sample` draws the same but computes less: a hidden unit of degree $m$ is final once the first $m$ dimensions are
# drawn, so every unit is computed once, and all $D$ steps together cost about one pass. On digits, below, this matters.
#
# ## Digits
#
# `mnist-5k` has 4,000 training digits, binarised anew at each step. The event is an image, the model's is a vector;
# `with_event_shape` flattens. `ensemble` with a single mask, the natural ordering (rows from the top), makes a `DensityModel`.
#
# 784 inputs have degrees up to 784, and 300 hidden units cannot have all of 1 … 783: some dependencies would have no path. Direct
# connections from inputs to outputs carry them (`direct=True`); without them the library refuses.

# %%
try:
    made.made(784, (300,), made.bernoulli_output())
except ValueError as error:
    print(error)

digits = load_dataset("mnist-5k")
single = made.made(784, (300,), made.bernoulli_output(), direct=True)
density_of_images = with_event_shape(made.ensemble(single, lambda index: single.degrees), digits.event_shape)
options = {"epochs": 20, "batch_size": 100, "learning_rate": 1e-2, "validate_every": 4}
fitted = gen_jax.fit(jax.random.key(0), density_of_images, made.made_loss(single), digits, **options)

rows = [row for row in fitted.history if "valid_log_prob" in row]
plt.plot([row["epoch"] for row in fitted.history], [row["train_log_prob"] for row in fitted.history], label="training")
plt.plot([row["epoch"] for row in rows], [row["valid_log_prob"] for row in rows], "o-", label="validation")
plt.xlabel("epoch")
plt.ylabel("log p(x) (nats)")
plt.legend()
plt.show()

# %% [markdown]
# The likelihood of test digits is exact, no bound and no estimate. Beside it, a model in which pixels are independent:

# %%
table = tasks.evaluate(density_of_images, fitted.params, jax.random.key(0), digits.test)
test = jax.vmap(digits.view.example)(digits.test.x)
mean = jnp.clip(jnp.asarray(digits.train.x, jnp.float32).mean(0) / 255, 1e-3, 1 - 1e-3)
independent = -(test * jnp.log(mean) + (1 - test) * jnp.log1p(-mean)).sum((1, 2, 3)).mean()
print(f"MADE: −log p(x) = {table.summary['nll']:.2f} ± {table.summary['nll_se']:.2f} nats; independent pixels: {independent:.2f}")
assert table.summary["nll"] < independent

# %% [markdown]
# What the network sees when it looks at a digit: for each pixel, the probability of white given the pixels above and to the left of
# it, and how surprised it was, $-\log p(x_i \mid x_{<i})$. The surprises of an image add up to its $-\log p(x)$.

# %%
known = jnp.zeros(digits.event_shape, bool)
log_parts = jax.vmap(lambda x: density_of_images.conditionals(fitted.params, x, known))(test[:6])
white = jnp.where(test[:6] == 1, jnp.exp(log_parts), 1 - jnp.exp(log_parts))
figure, axes = plt.subplots(3, 6, figsize=(7, 3.6))
for row, images, top in zip(axes, (test[:6], white, -log_parts), (1, 1, 5), strict=True):
    for axis, image in zip(row, images, strict=True):
        axis.imshow(image[..., 0], cmap="gray" if top == 1 else "magma", vmin=0, vmax=top)
        axis.set(xticks=[], yticks=[])
for axis, name in zip(axes[:, 0], ("image", "p(white)", "surprise"), strict=True):
    axis.set_ylabel(name)
for axis, nats in zip(axes[0], -log_parts.sum((1, 2, 3)), strict=True):
    axis.set_title(f"{nats:.0f} nats", fontsize=9)
figure.tight_layout()

# %% [markdown]
# Surprise sits at the edges of strokes, where they begin and end. Inside a stroke and in the background the next pixel is easy to
# tell.
#
# ### Samples, pixel by pixel
#
# A sample of the library at a few stages: pixels that are not yet drawn are grey. The time is that of 20 samples, beside that of the
# plain loop of 784 passes (`draw_by_passes`).

# %%
samples = np.asarray(tasks.sample(density_of_images, fitted.params, jax.random.key(7), 20))
figure, axes = plt.subplots(3, 6, figsize=(7, 3.6))
for row, image in zip(axes, samples[:3].reshape(3, 784), strict=True):
    for axis, drawn in zip(row, (140, 252, 364, 476, 588, 784), strict=True):
        axis.imshow(np.where(np.arange(784) < drawn, image, 0.5).reshape(28, 28), cmap="gray", vmin=0, vmax=1)
        axis.set(xticks=[], yticks=[])
        axis.set_title(f"{drawn} pixels" if row is axes[0] else "", fontsize=9)
figure.tight_layout()

# %%
network = gen_jax.nets.MaskedMLP((300,), 1, True)
one_by_one = lambda key: made.draw_by_passes(
    network, made.bernoulli_output(), fitted.params.params, single.degrees, key, jnp.zeros(784), jnp.zeros(784, bool)
)
cached = lambda key: single.sample(fitted.params.params, single.degrees, key)
drawn = {}
for name, function in {"784 passes": one_by_one, "each unit once": cached}.items():
    run = jax.jit(lambda keys, function=function: jax.lax.map(function, keys, batch_size=20))
    keys = jax.random.split(jax.random.key(8), 20)
    run(keys).block_until_ready()
    start = time.perf_counter()
    drawn[name] = run(keys).block_until_ready()
    print(f"{name}: {1e3 * (time.perf_counter() - start):.0f} ms")
same = float((drawn["784 passes"] == drawn["each unit once"]).all(axis=1).mean())
print(f"{same:.0%} of the samples are the same in every pixel")
assert same > 0.8  # rounding may turn a pixel, and then all after it

# %%
figure, axes = plt.subplots(2, 10, figsize=(8, 1.9))
for axis, image in zip(axes.ravel(), samples, strict=True):
    axis.imshow(image[..., 0], cmap="gray")
    axis.set(xticks=[], yticks=[])

# %% [markdown]
# Some are digits, others only strokes. Stray white pixels are left, most of them at the upper border, where training digits are black:
# the model is small, and so are its training set and its number of steps.
#
# ## Completing half of an image
#
# Given the upper half, the lower half is drawn as before, starting in the middle: the known pixels come first in the ordering, so
# every draw is from $p(\text{lower} \mid \text{upper})$, exactly. Given the *lower* half, the natural ordering is of no use: each pixel
# of the upper half would be drawn without regard to the lower half. The reversed ordering is what is needed there.
#
# So train one network under two orderings, natural and reversed, one step each in turn. The inputs are $(x, 1 - x)$, so that
# the network can tell a 0 from an input that the mask hides (`one_hot=True`; the paper has weights on the masks for this purpose).

# %%
double = made.made(784, (300,), made.bernoulli_output(one_hot=True), direct=True)
both = (double.degrees, made.with_ordering(double.degrees, np.arange(784)[::-1]))
two_masks = lambda index: jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves])[index], *both)
two = made.ensemble(double, two_masks, num_masks=2)
two_of_images = with_event_shape(two, digits.event_shape)
score = validation(density_loss(two_of_images), digits.view, two_of_images, batch_size=500)
two_fitted = gen_jax.fit(
    jax.random.key(0), two_of_images, made.made_loss(double), digits, validate=score, best_metric="valid_log_prob", **options
)

vectors = test.reshape(len(test), -1)
under = [
    jax.jit(jax.vmap(lambda x, degrees=degrees: double.log_prob(two_fitted.params.params, degrees, x)))(vectors)
    for degrees in both
]
mixture_nll = tasks.evaluate(two_of_images, two_fitted.params, jax.random.key(0), digits.test).summary["nll"]
print(f"one ordering, trained alone:        {table.summary['nll']:.2f} nats")
print(f"two, under the natural ordering:    {-under[0].mean():.2f}")
print(f"two, under the reversed ordering:   {-under[1].mean():.2f}")
print(f"two, the mixture:                   {mixture_nll:.2f}")
np.testing.assert_allclose(mixture_nll, -(jnp.logaddexp(*under) - jnp.log(2.0)).mean(), rtol=1e-4)

# %% [markdown]
# Under either ordering the shared network is a little worse than the one that had the natural ordering to itself. The mixture is never
# worse than the mean of the two log-likelihoods (the logarithm is concave), and here it makes up for the difference.
#
# `tasks.complete` hides what is not observed. The model chooses the mask under which the fewest hidden pixels come before known ones,
# and says whether the draws are exact.

# %%
upper = np.zeros(digits.event_shape, bool)
upper[:14] = True
some = digits.test._replace(x=digits.test.x[:8], labels=digits.test.labels[:8])
completed = {}
for name, known in {"upper": upper, "lower": ~upper}.items():
    for which, (m, p) in {"one ordering": (density_of_images, fitted.params), "two": (two_of_images, two_fitted.params)}.items():
        found = tasks.complete(m, p, jax.random.key(9), some, known, num=3, view=digits.view)
        completed[name, which] = found.x
        exact = "exact" if bool(found.exact[0, 0]) else f"not exact, {int(found.unused[0, 0])} pairs out of order"
        print(f"{name} half given, {which}: mask {int(found.mask[0, 0])}, {exact}")


# %%
def show_completions(known, which):
    rows = [test[:8], jnp.where(known, test[:8], 0.5), *completed["upper" if known[0, 0, 0] else "lower", which]]
    figure, axes = plt.subplots(5, 8, figsize=(6, 3.9))
    for row, images, name in zip(axes, rows, ("test", "given", "draws", "", ""), strict=True):
        for axis, image in zip(row, images, strict=True):
            axis.imshow(image[..., 0], cmap="gray", vmin=0, vmax=1)
            axis.set(xticks=[], yticks=[])
        row[0].set_ylabel(name, fontsize=8)
    figure.suptitle(f"{which}: {'upper' if known[0, 0, 0] else 'lower'} half given", fontsize=10)
    figure.tight_layout()


show_completions(upper, "one ordering")

# %%
show_completions(~upper, "one ordering")

# %%
show_completions(~upper, "two")

# %% [markdown]
# Given the upper half, the lower halves fit it, and vary where several digits are possible. Given the lower half, the model of one
# ordering draws upper halves that do not fit: it has not looked at what is given. The model of two orderings takes mask 1, the reversed one, and its
# upper halves join the given strokes more often than not.
#
# ## The exact conditional, by enumeration
#
# Is "exact" true? For ten dimensions it can be checked: of the 1,024 inputs keep the 32 that agree with the five known values, and
# divide their probabilities by their sum,
#
# $$p(x_{\text{missing}} \mid x_{\text{known}}) = \frac{p(x)}{\sum_{x'_{\text{missing}}} p(x')}.$$
#
# Then draw 20,000 completions and count. First with the known dimensions in front, then with them at the end.

# %%
tiny = made.ensemble(model, lambda index: model.degrees)
tiny_params = Variables(jax.tree.map(lambda leaf: 4 * leaf, library_params), tiny.init(jax.random.key(0)).state)
tiny_log_p = jax.vmap(lambda x: tiny.log_prob(tiny_params, x))(every)
x = every[0b1011001101]


def exact_conditional(known):
    agrees = (every[:, known] == x[known]).all(axis=1)
    return jax.nn.softmax(tiny_log_p[agrees]), every[agrees]


@jax.jit
def counted(keys, known):
    return jax.vmap(lambda key: tiny.complete(tiny_params, key, x, known))(keys)


figure, axes = plt.subplots(1, 2, figsize=(8, 2.8), sharey=True)
distance = {}
for axis, (name, known) in zip(
    axes, {"first five known": jnp.arange(D) < 5, "last five known": jnp.arange(D) >= 5}.items(), strict=True
):
    found = counted(jax.random.split(jax.random.key(10), 20_000), known)
    probabilities, values = exact_conditional(np.asarray(known))
    place = 2.0 ** jnp.arange(4, -1, -1)
    missing = np.asarray(~known)
    counts = jnp.bincount((found.x[:, missing] @ place).astype(int), length=32) / 20_000
    np.testing.assert_array_equal(values[:, missing] @ place, jnp.arange(32))  # in the same order
    distance[name] = float(jnp.abs(counts - probabilities).sum() / 2)
    axis.bar(np.arange(32) - 0.2, probabilities, 0.4, label="by enumeration")
    axis.bar(np.arange(32) + 0.2, counts, 0.4, label="share of draws")
    axis.set_title(f"{name}: {'exact' if bool(found.exact[0]) else 'not exact'}, distance {distance[name]:.3f}", fontsize=9)
    axis.set(xlabel="the five missing bits, as a number")
axes[0].set_ylabel("probability")
axes[0].legend(fontsize=8)
assert distance["first five known"] < 0.03 < distance["last five known"]

# %% [markdown]
# The distance is that of total variation, half the sum of the absolute differences. Left, draws and enumeration agree to within the
# noise of counting. Right, they do not: the first five were drawn from their marginal, as if nothing was known. The library says so
# in `exact` and does not hide it.
#
# ## Exercises
#
# **1.** Add direct connections from inputs to outputs to `logits`. Which mask do they need? Show by the Jacobian that
# the model is still autoregressive.
#
# <details><summary>Solution</summary>
#
# ```python
# def logits_with_direct(params, direct, masks, x):
#     degrees = jnp.arange(1, len(x) + 1)
#     return logits(params, masks, x) + x @ (direct * (degrees[None, :] > degrees[:, None]))
#
# direct = jax.random.normal(jax.random.key(11), (D, D))
# jacobian = jax.jacobian(logits_with_direct, argnums=3)(ten_params, direct, ten_masks, every[5])
# assert np.all(np.triu(jacobian) == 0)
# ```
#
# Output $i$ sees input $j$ where $j < i$: the same strict inequality as from the last hidden layer.
# </details>
#
# **2.** The known dimensions come last, and draws in the natural order are wrong. Correct them by importance weights: draw the missing
# ones in order, and weight each draw by the product of the conditionals of the *known* dimensions given all before them. Compare
# with the enumeration.
#
# <details><summary>Solution</summary>
#
# ```python
# known = np.arange(D) >= 5
# found = counted(jax.random.split(jax.random.key(12), 20_000), jnp.asarray(known))
# parts = jax.vmap(lambda x: tiny.conditionals(tiny_params, x, jnp.zeros(D, bool)))(found.x)
# weights = jax.nn.softmax(parts[:, known].sum(axis=1))
# numbers = (found.x[:, :5] @ 2.0 ** jnp.arange(4, -1, -1)).astype(int)
# weighted = jnp.zeros(32).at[numbers].add(weights)
# print("distance:", float(jnp.abs(weighted - exact_conditional(known)[0]).sum() / 2))
# ```
#
# The distance is small again. `tasks.complete(..., method="resampling")` does this. It needs more draws the more the known part says
# about the missing one: for half a digit, far more.
# </details>
#
# **3.** How many passes does $\log p(x)$ of one image take, how many a sample by hand, and how many the mean of $p(x_{784} = 1)$
# over the model's own draws?
#
# <details><summary>Solution</summary>
#
# One; 784; and 784 for each draw, since $x_{784}$ comes last and its marginal is a mean over everything before it:
#
# ```python
# keys = jax.random.split(jax.random.key(13), 100)
# print(jax.jit(lambda keys: jax.lax.map(cached, keys, batch_size=20))(keys)[:, -1].mean())
# ```
# </details>
