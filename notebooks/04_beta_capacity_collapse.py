# %% [markdown]
# # 4 · Rate, distortion, β, collapse, capacity, and single latents for single factors
#
# The ELBO is a sum of two terms that pull in opposite directions. This notebook looks at the two apart:
#
# 1. rate and distortion, and β as the slope of the curve between them;
# 2. a model in which all of this can be computed exactly, and in which latents *collapse* one after the other;
# 3. the same on digits, with several β trained as one program;
# 4. the capacity objective, which sets the rate, and KL annealing;
# 5. whether single latents stand for single known factors: traversals, mutual information, MIG, and why a rotation ruins them.
#
# You need notebook 1, and to have seen the ELBO.

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
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from IPython.display import display

import gen_jax
from gen_jax import evaluate, plots, tasks
from gen_jax.data import load_dataset
from gen_jax.nets import MLP
from gen_jax.recipes import RECIPES, change
from gen_jax.sweep import train_many
from gen_jax.vae import bernoulli_likelihood, capacity_objective, elbo_loss, elbo_terms, gaussian_vae, negative_elbo

plt.rcParams.update({"figure.figsize": (7, 3), "figure.dpi": 80, "axes.spines.top": False, "axes.spines.right": False})

# %% [markdown]
# ## Two terms
#
# For one example $x$, with encoder $q(z|x)$, decoder $p(x|z)$ and prior $p(z)$,
#
# $$\text{ELBO} = -D - R, \qquad D = -\mathbb{E}_{q(z|x)}[\log p(x|z)], \qquad R = \mathrm{KL}(q(z|x) \,\|\, p(z)).$$
#
# $D$ is the **distortion**: nats to describe $x$ once $z$ is known. $R$ is the **rate**: nats to describe $z$. Averaged over data,
# the rate bounds what $z$ can tell of $x$. Write $q(z) = \mathbb{E}_x\, q(z|x)$ for the aggregate posterior; then
#
# $$\mathbb{E}_x R = \underbrace{\mathbb{E}_x \mathrm{KL}(q(z|x) \,\|\, q(z))}_{I(x;\,z)} + \mathrm{KL}(q(z) \,\|\, p(z)) \;\ge\; I(x; z).$$
#
# So a rate of zero means that $z$ says nothing about $x$. Two models with the same ELBO can lie anywhere on the line
# $D + R = \text{const}$, from one whose latents say everything to one whose latents say nothing (Alemi et al. 2018,
# arXiv:1711.00464). The ELBO does not choose between them; the weight in
#
# $$L_\beta = D + \beta R$$
#
# does (β-VAE, Higgins et al. 2017).

# %% [markdown]
# ## β is a slope
#
# Let $(R_1, D_1)$ minimise $L_{\beta_1}$ and $(R_2, D_2)$ minimise $L_{\beta_2}$, $\beta_1 < \beta_2$. Neither can beat the other at
# its own weight:
#
# $$D_1 + \beta_1 R_1 \le D_2 + \beta_1 R_2, \qquad D_2 + \beta_2 R_2 \le D_1 + \beta_2 R_1.$$
#
# Add them: $R_1 \ge R_2$. Divide by $R_1 - R_2 > 0$:
#
# $$\beta_1 \;\le\; \frac{D_2 - D_1}{R_1 - R_2} \;\le\; \beta_2.$$
#
# The chord between the two points has a slope between the two weights, whatever the networks are. As they approach each other,
# $-\mathrm{d}D/\mathrm{d}R = \beta$. We will use this as a test of training: points that break it are no minima.

# %% [markdown]
# ## A model in which everything is exact
#
# Take data whose dimensions are independent, $x_i \sim N(0, s_i^2)$, a latent for each, and linear maps:
#
# $$q(z_i|x_i) = N(a_i x_i, v_i), \qquad p(x_i|z_i) = N(w_i z_i, \sigma^2).$$
#
# Both terms are integrals of squares, known for each dimension:
#
# $$R_i = \tfrac12\left(a_i^2 s_i^2 + v_i - 1 - \log v_i\right), \qquad
# D_i = \tfrac12 \log 2\pi\sigma^2 + \frac{(1 - w_i a_i)^2 s_i^2 + w_i^2 v_i}{2\sigma^2}.$$

# %%
scales = jnp.array([3.0, 2.0, 1.0, 0.5])  # s_i
sigma = 0.4


def rate(p):
    return 0.5 * ((p["a"] * scales) ** 2 + jnp.exp(p["log_v"]) - 1 - p["log_v"])


def distortion(p):
    error = (1 - p["w"] * p["a"]) ** 2 * scales**2 + p["w"] ** 2 * jnp.exp(p["log_v"])
    return 0.5 * jnp.log(2 * jnp.pi * sigma**2) + error / (2 * sigma**2)


# %% [markdown]
# Minimise $D + \beta R$ by Adam, for many β at once: β is an argument of the training, and `vmap` makes a row of trainings of it.


# %%
@jax.jit
@jax.vmap
def train_linear(beta):
    start = {"a": jnp.full(4, 0.3), "w": jnp.full(4, 0.3), "log_v": jnp.zeros(4)}
    optimizer = optax.adam(optax.cosine_decay_schedule(0.03, 6000))

    def step(state, _):
        params, opt_state = state
        grads = jax.grad(lambda p: jnp.sum(distortion(p) + beta * rate(p)))(params)
        updates, opt_state = optimizer.update(grads, opt_state)
        return (optax.apply_updates(params, updates), opt_state), None

    (params, _), _ = jax.lax.scan(step, (start, optimizer.init(start)), length=6000)
    return rate(params), distortion(params)


linear_betas = jnp.geomspace(0.25, 100.0, 40)
rates, distortions = train_linear(linear_betas)
print(rates.shape, "rates: of 40 values of β, and 4 latents")

# %% [markdown]
# What should have come out? At the best $w_i$ and $a_i$ the aggregate posterior of a latent is the prior,
# $a_i^2 s_i^2 + v_i = 1$, with $w_i = a_i s_i^2$. Then $R_i = -\tfrac12 \log v_i$, the squared error is $v_i s_i^2$, and the
# derivative of $D_i + \beta R_i$ in $v_i$ vanishes at $v_i = \beta\sigma^2 / s_i^2$. That is a variance of a latent that carries
# something only as long as it is below 1:
#
# $$R_i = \max\left(0,\; \tfrac12 \log \frac{s_i^2}{\beta \sigma^2}\right), \qquad
# \text{squared error} = \min(s_i^2,\, \beta\sigma^2).$$
#
# This is Shannon's rate-distortion function of Gaussian sources, "reverse water-filling" (Cover & Thomas 2006, §10.3): each direction
# is described down to the same error $\beta\sigma^2$, the water level, and a direction whose own variance is below the level is
# not described at all.

# %%
level = linear_betas[:, None] * sigma**2
exact = jnp.maximum(0.0, 0.5 * jnp.log(scales**2 / level))
np.testing.assert_allclose(rates, exact, atol=0.02)

figure, (left, right) = plt.subplots(1, 2)
for i, s in enumerate(scales):
    left.plot(linear_betas, rates[:, i], color=f"C{i}", label=f"$s$ = {s:g}")
    left.axvline(float(s**2 / sigma**2), color=f"C{i}", linestyle=":", linewidth=1)
left.set(xscale="log", xlabel="β", ylabel="rate of each latent (nats)")
left.legend()
total_rate, total_distortion = rates.sum(axis=1), distortions.sum(axis=1)
right.plot(total_rate, total_distortion, marker=".")
right.set(xlabel="rate (nats)", ylabel="distortion (nats)", yscale="log")
figure.tight_layout()

# %% [markdown]
# Left: each latent carries fewer nats as β grows, until it carries none, at $\beta = s_i^2/\sigma^2$ (dotted). It **collapses**:
# $q(z_i|x) = p(z_i)$ for every $x$. The directions of small variance go first. Note that the same happens at β = 1 if σ is too large:
# collapse is no fault of the optimizer here, it is the minimum (Lucas et al. 2019, arXiv:1911.02469).
#
# Right: the curve of all minima. Its slope is −β:

# %%
alive = slice(0, 35)  # beyond, all latents have collapsed, and there is no slope
slopes = (-jnp.diff(total_distortion) / jnp.diff(total_rate))[alive]
lower, higher = linear_betas[:-1][alive], linear_betas[1:][alive]
assert bool(jnp.all((slopes > 0.99 * lower) & (slopes < 1.01 * higher)))
for low, slope, high in list(zip(lower, slopes, higher, strict=True))[::7]:
    print(f"{low:6.2f} ≤ {slope:6.2f} ≤ {high:6.2f}")

# %% [markdown]
# ## Digits, several β at once
#
# Now networks: the recipe `vae` with one hidden layer of 100 and ten latents, on 4,000 digits. `train_many` trains a recipe for every
# value of a setting that enters a step as a number, as one vmapped program: what you have just done by hand, with mini-batches.

# %%
BETAS = (0.5, 1.0, 2.0, 4.0, 8.0)
settings = change(RECIPES["vae"].settings, latent_dim=10, hidden_sizes=(100,), epochs=20, learning_rate=2e-3)
many = train_many("vae", settings, num_seeds=1, vary={"beta": BETAS})
vae, view = many.experiment.model, many.data.view
variables = jax.tree.map(lambda leaf: leaf[:, 0], many.variables)  # the one seed: leaves [5, ...]
print(jax.tree.leaves(variables)[0].shape)

# %% [markdown]
# `elbo_terms` returns the two terms of one example, with the rate in one part for each latent. For a Gaussian posterior they are
#
# $$R = \sum_j \tfrac12\left(\mu_j^2 + \sigma_j^2 - 1 - \log \sigma_j^2\right), \qquad
# D = -\sum_i \log p(x_i|z), \quad z = \mu + \sigma \odot \varepsilon.$$
#
# By hand, for one image, and by the library, with the same key:


# %%
def terms_by_hand(params, key, x):
    q = vae.encode(params, x)
    z = q.loc + q.scale * jax.random.normal(key, q.loc.shape)
    logits = vae.decode(params, z).logits
    log_likelihood = jnp.sum(x * jax.nn.log_sigmoid(logits) + (1 - x) * jax.nn.log_sigmoid(-logits))
    return -log_likelihood, 0.5 * (q.loc**2 + q.scale**2 - 1 - 2 * jnp.log(q.scale))


key = jax.random.key(0)
of_one = jax.tree.map(lambda leaf: leaf[1], variables)  # β = 1
image = view.example(jnp.asarray(many.data.test.x[0]))
terms = elbo_terms(vae, of_one, key, image)
by_hand = terms_by_hand(of_one, key, image)
np.testing.assert_allclose(by_hand[0], terms.distortion, rtol=1e-5)
np.testing.assert_allclose(by_hand[1], terms.kl_parts, rtol=1e-4, atol=1e-5)
print(f"distortion {terms.distortion:.2f}, rate {terms.kl:.2f} nats, of which each latent has", np.round(terms.kl_parts, 2))

# %% [markdown]
# Two nested `vmap`s measure all five models on all images: one over images, one over models.


# %%
@jax.jit
def measure(variables, x):
    def one(params, key, x):
        return elbo_terms(vae, params, key, x), vae.encode(params, x).mean

    of_model = jax.vmap(one, in_axes=(None, 0, 0))
    return jax.vmap(of_model, in_axes=(0, None, None))(variables, evaluate.example_keys(jax.random.key(1), len(x)), x)


train_x = view.training_examples(jax.random.key(2), many.data.train.on_device()).x[:2000]
test_x = view.examples(many.data.test.on_device()).x
points = {}
for name, x in {"train": train_x, "test": test_x}.items():
    terms, means = measure(variables, x)
    points[name] = np.asarray(terms.kl.mean(axis=1)), np.asarray(terms.distortion.mean(axis=1))
nats = np.asarray(terms.kl_parts.mean(axis=1))  # of test images [5, 10]
active = np.stack([evaluate.active_units(of_model) for of_model in means])
for i, beta in enumerate(BETAS):
    R, D = points["test"][0][i], points["test"][1][i]
    print(f"β {beta:4}: rate {R:5.2f}, distortion {D:6.2f}, ELBO {-D - R:7.2f}, {active[i].sum():2} active latents")

# %% [markdown]
# The ELBO itself is best near β = 1, as it must be on training data: it *is* the objective there. Does the bound on slopes hold?
# It is about what was minimised, so we ask the training images.

# %%
R, D = points["train"]
chords = -np.diff(D) / np.diff(R)
for low, high, chord in zip(BETAS, BETAS[1:], chords, strict=False):
    print(f"{low:4} ≤ {chord:5.2f} ≤ {high}")
    assert 0.9 * low < chord < 1.1 * high

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), width_ratios=(3, 2))
for name, (R, D) in points.items():
    left.plot(R, D, marker="o", label=name)
for R, D, beta in zip(*points["test"], BETAS, strict=True):
    left.annotate(f"β = {beta:g}", (R, D), (6, 5), textcoords="offset points", fontsize=8)
left.set(xlabel="rate (nats)", ylabel="distortion (nats)")
left.legend(loc="upper center")
drawn = right.imshow(-np.sort(-nats, axis=1), cmap="viridis", vmin=0)
right.set(yticks=range(len(BETAS)), yticklabels=[f"{beta:g}" for beta in BETAS], xlabel="latent, largest first", ylabel="β")
right.set_title("nats of each latent", fontsize=10)
figure.colorbar(drawn, ax=right, shrink=0.7)
figure.tight_layout()

# %% [markdown]
# ## Posterior collapse
#
# The right panel shows the collapse of the linear model again, in a network: the rate does not fall evenly, and at β = 8 the last
# latents carry next to nothing. Two ways to count them:
#
# - the **nats** of a latent, its mean KL;
# - **active units**: latents whose posterior mean varies over data, $\mathrm{Var}_x(\mathbb{E}_q[z_j|x]) > 0.01$ (Burda et al. 2016,
#   arXiv:1509.00519).
#
# Neither is the other. A latent whose mean varies by a standard deviation of 0.1 is just active, and carries about
# $\tfrac12 \cdot 0.01$ nats. By that count all ten are active here:

# %%
chosen = BETAS.index(8.0)
order = np.argsort(-nats[chosen])
spread = np.asarray(means[chosen].var(axis=0))
for j in order:
    print(f"latent {j}: {nats[chosen, j]:.3f} nats, variance of its mean {spread[j]:.3f}, active: {active[chosen, j]}")

# %% [markdown]
# What does a collapsed latent look like? Take a digit, move one latent at a time over the range that it has under the prior, and
# decode. `tasks.traverse` does so for every latent.

# %%
params = jax.tree.map(lambda leaf: leaf[chosen], variables)
one_digit = jax.tree.map(lambda leaf: leaf[:1], many.data.test).on_device()
rows = tasks.traverse(vae, params, key, one_digit, 11, view=view)  # [10, 11, 28, 28, 1]
change_of = np.asarray(jnp.abs(rows - rows[:, 5:6]).mean(axis=(1, 2, 3, 4)))
shown = [*order[:3], *order[-2:]]
plots.image_grid(
    np.concatenate([rows[j] for j in shown]),
    11,
    "β = 8: one latent moved, in each row",
    [f"{nats[chosen, j]:.2f} nats" for j in shown],
)

# %% [markdown]
# The last rows hardly change. A latent that carries 0.02 nats is nearly pure noise to the decoder, which learns to ignore it. The mean
# change of a pixel along a row says it in a number (after 800 steps the decoder still has small weights on these latents; the squares
# below are trained longer, and there the difference is larger):

# %%
print({int(j): round(float(change_of[j]), 4) for j in order})
assert change_of[order[0]] > 2 * change_of[order[-1]]

# %% [markdown]
# The rate also has parts that are no collapse. By the identity at the top, and one more step, it is the mutual information of
# example and code, the *total correlation* by which latents depend on each other, and the KL of each marginal from its prior
# (Hoffman & Johnson 2016; Chen et al. 2018, arXiv:1802.04942). The aggregate $q(z)$ is here a mixture of the 500 posteriors of test
# images, so that the mutual information cannot exceed $\log 500$. At β = 1 it is near that limit, and the rest of the rate is counted as
# correlation: a larger set would tell more images apart.

# %%
for i in (1, chosen):
    of_beta = jax.tree.map(lambda leaf, i=i: leaf[i], variables)
    parts = tasks.rate_decomposition(vae, of_beta, key, many.data.test, view=view)
    information, correlation, marginal = (float(jnp.sum(part)) for part in parts)
    print(
        f"β = {BETAS[i]:g}: information {information:.2f} + correlation {correlation:.2f} + marginal {marginal:.2f} nats", end=""
    )
    print(f" = {information + correlation + marginal:.2f}; rate {points['test'][0][i]:.2f}; log 500 = {np.log(500):.2f}")
    assert abs(information + correlation + marginal - points["test"][0][i]) < 0.5
    assert information <= np.log(500) + 1e-3

# %% [markdown]
# ## A data set with known factors
#
# For the rest we want to know what there is to encode. Images of 16 × 16 with a square, whose centre has nine places in each direction
# and whose side is 4, 6 or 8: 243 images, each combination once. An `.npz` file with `images` and integers `factors` is a data set,
# which `load_dataset` divides, and the factors go with it.

# %%
factors = np.array(list(itertools.product(range(9), range(9), range(3))))  # x, y, size
FACTOR_NAMES = ("x", "y", "size")
pixel = np.arange(16)


def square(x, y, size):
    inside = lambda place: (pixel >= place + 2 - size) & (pixel < place + 6 + size)
    return inside(y)[:, None] & inside(x)[None, :]


images = np.stack([square(*row) for row in factors]).astype(np.uint8)[..., None]
folder = tempfile.TemporaryDirectory()
name = f"npz:{Path(folder.name) / 'squares.npz'}"
np.savez(Path(folder.name) / "squares.npz", images=images, factors=factors)
squares = load_dataset(name)
everything = jnp.asarray(images, jnp.float32)
print({part: split.x.shape for part, split in squares.splits.items()}, squares.factors.train.shape)
plots.image_grid(images[[0, 1, 2, 12, 39, 121, 122, 202, 240, 242]], 10)

# %% [markdown]
# ## Capacity: choose the rate, not the weight
#
# A β gives a rate that nobody knows before training. The capacity objective names the rate, $C$ nats, and raises it while training
# (Burgess et al. 2018, arXiv:1804.03599):
#
# $$L = D + \gamma\, |R - C|.$$
#
# For a large γ the rate follows $C$, and the model spends each new nat on what lowers the distortion most. $R$ is here the mean over
# the mini-batch (`objective_of="batch-mean"`): with each example's own rate, every image would have to take the same number of nats.
# The objective is a function of the terms and of the step:

# %%
GAMMA, MOST, RISE = 30.0, 9.0, 700
capacity = lambda step: MOST * jnp.minimum(1.0, step / RISE)
held = lambda terms, step: capacity_objective(terms, GAMMA, capacity(step))

small = gaussian_vae(MLP((64, 64), (2, 6)), MLP((64, 64), (16, 16, 1)), 6, bernoulli_likelihood())


@jax.jit
def nats_of(params):
    one = lambda key, x: elbo_terms(small, params, key, x).kl_parts
    return jax.vmap(one)(evaluate.example_keys(key, len(everything)), everything).mean(axis=0)


rise = []
fitted = gen_jax.fit(
    jax.random.key(3),
    small,
    elbo_loss(small, held, objective_of="batch-mean"),
    squares,
    epochs=340,
    batch_size=65,
    learning_rate=2e-3,
    schedule="constant",
    validate_every=10,
    best_metric=None,
    snapshot=lambda params, epoch: rise.append((3 * epoch, nats_of(params))),  # 3 steps an epoch
)

# %%
steps, of_latents = np.array([step for step, _ in rise]), np.stack([row for _, row in rise])
figure, (left, right) = plt.subplots(1, 2)
left.plot(steps, of_latents.sum(axis=1), label="rate")
left.plot(steps, capacity(steps), linestyle=":", color="black", label="$C$")
left.set(xlabel="step", ylabel="nats")
left.legend()
right.plot(steps, of_latents)
right.set(xlabel="step", ylabel="nats of each latent")
figure.tight_layout()
held_at = of_latents[-8:].sum(axis=1).mean()  # over the last 240 steps
print(f"at the end: C = {MOST}, mean rate {held_at:.2f} nats")
assert abs(held_at - MOST) < 0.6

# %% [markdown]
# Left: the rate follows the capacity, up and down about it, since the gradient of $|R - C|$ has the same size at any distance. Right:
# latents do not rise together. Two take most of the first nats, two more join later, and two are never needed: this objective
# adds latents as the capacity allows.
#
# ## KL annealing
#
# The other schedule in use: β itself rises from 0 to 1 over the first steps (Bowman et al. 2016, arXiv:1511.06349). Early on the decoder
# knows nothing of $z$, so that the distortion has no gradient that would keep a latent alive, and the rate has one that kills it. The
# objective at the end is the ELBO again: unlike a small β, annealing changes the path and not the aim.

# %%
digits = load_dataset("mnist-5k")
deep = gaussian_vae(MLP((100, 100, 100), (2, 20)), MLP((100, 100, 100), (28, 28, 1)), 20, bernoulli_likelihood())
runs = {}
for warmup in (0, 200):
    weight = lambda step, warmup=warmup: jnp.minimum(1.0, (step + 1) / max(warmup, 1))
    annealed = lambda terms, step, weight=weight: negative_elbo(terms, weight(step))
    runs[warmup] = gen_jax.fit(jax.random.key(0), deep, elbo_loss(deep, annealed), digits, epochs=10, learning_rate=3e-3)

# %%
for warmup, run in runs.items():
    plt.plot(
        [row["epoch"] for row in run.history], [row["train_rate"] for row in run.history], label=f"warm-up of {warmup} steps"
    )
    of_latent = jax.vmap(lambda key, x, params=run.params: elbo_terms(deep, params, key, x).kl_parts)
    carrying = int((of_latent(evaluate.example_keys(key, len(test_x)), test_x).mean(axis=0) > 0.1).sum())
    last = run.history[-1]
    print(
        f"warm-up of {warmup:3} steps: ELBO {last['valid_elbo']:.1f}, rate {last['valid_rate']:.1f} nats on validation data, ",
        end="",
    )
    print(f"{carrying} of 20 latents carry more than 0.1 nats")
plt.xlabel("epoch")
plt.ylabel("rate (nats)")
plt.legend()
plt.tight_layout()
assert runs[200].history[-1]["valid_elbo"] > runs[0].history[-1]["valid_elbo"]

# %% [markdown]
# Without annealing the rate creeps up from zero: the latents are pressed onto the prior first, and the deep encoder is slow to get them
# back. With annealing the rate starts above what the ELBO asks for, comes down when β arrives, and goes on from there. After the
# same number of steps the ELBO is better by far. This is one seed, of a short training: longer training would close a part of the gap.
# Where the decoder is strong enough to do without $z$, such as the language model of the paper, what is lost early stays lost.
#
# ## Single latents for single factors?
#
# A representation is called *disentangled* if each latent stands for one factor of the data. For the squares we can measure it. We
# train three β with four seeds each, all twelve at once.

# %%
SQUARE_BETAS, SEEDS = (1.0, 4.0, 8.0), 4
settings = change(
    settings, data=name, binarise="none", latent_dim=6, hidden_sizes=(64, 64), epochs=400, batch_size=65, learning_rate=3e-3
)
many_squares = train_many("vae", settings, num_seeds=SEEDS, vary={"beta": SQUARE_BETAS})
model = many_squares.experiment.model

# %% [markdown]
# The codes to be judged are draws $z \sim q(z|x)$, twenty for each image, and not posterior means: of a latent whose posterior is wide,
# only what stands out of its noise is told. (It also keeps the estimates below honest, which are too high on few examples.)

# %%
DRAWS = 20


@jax.jit
def encode_squares(variables):
    def one(params, key, x):
        draws = jax.vmap(model.encode(params, x).sample)(jax.random.split(key, DRAWS))
        return draws, elbo_terms(model, params, key, x)

    of_model = jax.vmap(one, in_axes=(None, 0, 0))
    of_seeds = jax.vmap(of_model, in_axes=(0, None, None))
    return jax.vmap(of_seeds, in_axes=(0, None, None))(variables, evaluate.example_keys(key, len(everything)), everything)


draws, terms = encode_squares(many_squares.variables)
codes = np.asarray(draws).reshape(len(SQUARE_BETAS), SEEDS, -1, 6)  # [β, seed, 243 · 20, 6]
labels = np.repeat(factors, DRAWS, axis=0)
square_nats = np.asarray(terms.kl_parts.mean(axis=2))
print(codes.shape, labels.shape)

# %% [markdown]
# ### Mutual information and MIG
#
# How much does a latent tell of a factor? With $z_j$ cut into 20 bins, the **mutual information** is a sum over a table of counts:
#
# $$I(z_j; v_k) = \sum_{b,v} p(b, v) \log \frac{p(b, v)}{p(b)\, p(v)} .$$
#
# For each factor take the latent that tells most of it and the second one. The **mutual information gap** (Chen et al. 2018,
# arXiv:1802.04942) is their difference, in units of the factor's entropy, as a mean over factors:
#
# $$\mathrm{MIG} = \frac1F \sum_k \frac{I(z_{(1)}; v_k) - I(z_{(2)}; v_k)}{H(v_k)} .$$
#
# It is 1 if every factor is told, completely, by one latent and by no other.


# %%
def information(latent, factor, bins=20):
    table = np.histogram2d(latent, factor, bins=(bins, np.arange(factor.max() + 2) - 0.5))[0] / len(latent)
    independent = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True)
    seen = table > 0
    return np.sum(table[seen] * np.log(table[seen] / independent[seen]))


def gap(codes, labels):
    table = np.array([[information(latent, factor) for factor in labels.T] for latent in codes.T])
    best = np.sort(table, axis=0)[::-1]
    entropy = np.log([9, 9, 3])  # of factors with equally frequent values
    return np.mean((best[0] - best[1]) / entropy)


example = codes[2, 3]
by_library = evaluate.mutual_information(example, labels)
np.testing.assert_allclose(information(example[:, 0], labels[:, 1]), by_library[0, 1], atol=1e-2)
np.testing.assert_allclose(gap(example, labels), evaluate.mutual_information_gap(example, labels), atol=1e-2)

# %%
migs = np.array([[evaluate.mutual_information_gap(of_seed, labels) for of_seed in of_beta] for of_beta in codes])
for beta, row, of_beta in zip(SQUARE_BETAS, migs, square_nats, strict=True):
    print(f"β = {beta:g}: MIG of four seeds {np.round(row, 2)}, mean {row.mean():.2f}, s.d. {row.std(ddof=1):.2f};", end=" ")
    print("rates", np.round(of_beta.sum(axis=1), 1))
between_seeds, between_settings = migs.std(axis=1, ddof=1).mean(), migs.mean(axis=1).std(ddof=1)
print(f"s.d. over seeds {between_seeds:.3f}, of the means of settings {between_settings:.3f}")
plt.figure(figsize=(4.5, 3))
plt.plot(SQUARE_BETAS, migs, "o", color="C0", alpha=0.7)
plt.plot(SQUARE_BETAS, migs.mean(axis=1), "k_", markersize=20)
plt.xlabel("β")
plt.ylabel("MIG (bar: mean of seeds)")
plt.ylim(0, 0.6)
plt.tight_layout()

# %% [markdown]
# Look at the spread before the trend. Seeds of one setting differ by more than the settings do, which is what Locatello et al. 2019
# (arXiv:1811.12359) found over thousands of models. One training run is no evidence of a method.
#
# The best run, and the worst at the same β, latent by latent:

# %%
best, worst = int(migs[2].argmax()), int(migs[2].argmin())
entropies = evaluate.factor_entropies(labels)
plots.mutual_information(evaluate.mutual_information(codes[2, best], labels), FACTOR_NAMES, entropies)

# %%
plots.mutual_information(evaluate.mutual_information(codes[2, worst], labels), FACTOR_NAMES, entropies)

# %% [markdown]
# In the upper one each factor has a latent of its own, and what is not used has collapsed. Its MIG is far below 1 all the same: a place
# of nine tells $\log 9$ = 2.2 nats, and a latent that pays eight times for each nat does not buy them all. MIG does not tell a latent
# that is impure from one that is noisy. In the lower one some factors share latents, or are hardly told.
#
# Their traversals, from an image in the middle, should say the same:

# %%
middle = jax.tree.map(lambda leaf: leaf[:1], squares.test._replace(x=255 * images[121:122])).on_device()
for what, seed in {"best": best, "worst": worst}.items():
    params = jax.tree.map(lambda leaf, seed=seed: leaf[2, seed], many_squares.variables)
    rows = tasks.traverse(model, params, key, middle, 11, view=squares.view)
    order = np.argsort(-square_nats[2, seed])
    moved_by = np.asarray(jnp.abs(rows - rows[:, 5:6]).mean(axis=(1, 2, 3, 4)))[order]
    print(f"{what}: mean change of a pixel along each row", np.round(moved_by, 4))
    names = [f"z{j}: {square_nats[2, seed, j]:.2f} nats" for j in order]
    display(plots.image_grid(rows[order].reshape(-1, 16, 16, 1), 11, f"β = 8, {what} MIG: one latent moved, in each row", names))

# %% [markdown]
# In the first picture one latent moves the square left and right, one up and down, and one makes it smaller and fainter; the other three
# have collapsed, and their rows change by about a tenth as much. In the second, one latent moves it along a diagonal.
#
# ## A rotation by 45° changes nothing, and everything
#
# Nothing in $p(x)$ asks for axes. The prior $N(0, I)$ looks the same from every direction: rotate $z$ by any $Q$, and let the decoder
# rotate back, and every $p(x)$ is what it was.

# %%
turn = np.eye(6)
turn[:2, :2] = np.array([[1, -1], [1, 1]]) / np.sqrt(2)
prior = model.prior(jax.tree.map(lambda leaf: leaf[2, best], many_squares.variables))
np.testing.assert_allclose(jax.vmap(prior.log_prob)(example @ turn.T), jax.vmap(prior.log_prob)(example), rtol=1e-4)

# %% [markdown]
# So no measure of likelihood can tell codes from rotated codes. The scores do. Take codes that are perfect, the factors themselves in
# other units and in another order, and rotate the two that hold the place by 45°:

# %%
grid = np.tile(factors, (4, 1))  # each combination four times
standard = (grid - grid.mean(axis=0)) / grid.std(axis=0)
perfect = standard[:, [1, 0, 2]] * np.array([1.0, -1.0, 3.0])
rotated = np.column_stack([perfect[:, :2] @ turn[:2, :2].T, perfect[:, 2]])
scores = {what: evaluate.disentanglement(of, grid) for what, of in {"perfect": perfect, "rotated": rotated}.items()}
for score in scores["perfect"]:
    print(f"{score:20} {scores['perfect'][score]:5.2f} {scores['rotated'][score]:5.2f}")
np.testing.assert_allclose(scores["perfect"]["mig"], 1.0, atol=1e-6)
np.testing.assert_allclose(scores["rotated"]["mig"], 1 / 3, atol=1e-6)

# %% [markdown]
# MIG falls from 1 to exactly ⅓: both rotated latents tell equally much of $x$, and of $y$, so that two gaps of three are 0. The codes
# still determine every factor, and informativeness, which uses all latents together, stays where it was. SAP is below 1 for perfect codes: it
# asks a linear classifier of one latent, which cannot cut out a middle value.
#
# Angle by angle:

# %%
angles = np.linspace(0, np.pi / 2, 31)
curve = []
for angle in angles:
    c, s = np.cos(angle), np.sin(angle)
    curve.append(
        evaluate.mutual_information_gap(np.column_stack([perfect[:, :2] @ np.array([[c, s], [-s, c]]), perfect[:, 2]]), grid)
    )
plt.figure(figsize=(4.5, 3))
plt.plot(np.degrees(angles), curve, marker=".")
plt.axhline(1 / 3, color="0.7", linestyle=":")
plt.xlabel("rotation of two latents (degrees)")
plt.ylabel("MIG")
plt.ylim(0, 1.05)
plt.tight_layout()

# %% [markdown]
# Why then does a VAE ever find axes? Because its posterior is not free to rotate: $q(z|x)$ has independent dimensions, and axes
# along which the decoder varies independently cost it least (Rolinek et al. 2019, arXiv:1812.06775). It is the family of $q$ that
# prefers them, locally, and not the likelihood; and what it prefers need not be the factors that we had in mind.
#
# ## Exercises
#
# **1.** In the linear model, at β = 1: which σ makes the latent of $s = 0.5$ collapse, and which all four? Check by training.
#
# <details><summary>Solution</summary>
#
# A latent collapses where $\beta\sigma^2 \ge s^2$: at σ = 0.5 the first, and at σ = 3 all four.
#
# ```python
# for sigma in (0.45, 0.55, 3.1):  # `distortion` reads the global name, so that a new trace sees it
#     jax.clear_caches()
#     print(sigma, np.round(train_linear(jnp.ones(1))[0], 3))
# sigma = 0.4
# ```
# </details>
#
# **2.** Free bits replace each latent's rate by $\max(\lambda, R_j)$: the first λ nats cost nothing (Kingma et al. 2016,
# arXiv:1606.04934). Train `deep` with λ = 0.25 and no annealing. How many latents carry more than 0.1 nats?
#
# <details><summary>Solution</summary>
#
# ```python
# from gen_jax.vae import free_bits_objective
#
# free = elbo_loss(deep, lambda terms, step: free_bits_objective(terms, 0.25), objective_of="batch-mean")
# run = gen_jax.fit(jax.random.key(0), deep, free, digits, epochs=10, learning_rate=3e-3)
# one = jax.vmap(lambda key, x: elbo_terms(deep, run.params, key, x).kl_parts)
# found = one(evaluate.example_keys(key, len(test_x)), test_x).mean(axis=0)
# print(int((found > 0.1).sum()), np.round(np.sort(found)[::-1], 2), run.history[-1]["valid_elbo"])
# ```
#
# All of them: a latent that stayed below λ would save nothing. The ELBO is better than without annealing, and
# worse than with it.
# </details>
#
# **3.** MIG of codes that are pure noise should be 0. Compute it for 243 draws of a normal, and for 24,300, of as many examples of the
# squares' factors. What does it say of scores on few examples?
#
# <details><summary>Solution</summary>
#
# ```python
# rng = np.random.default_rng(0)
# for times in (1, 100):
#     many_factors = np.tile(factors, (times, 1))
#     noise = rng.normal(size=(len(many_factors), 6))
#     print(len(noise), evaluate.mutual_information(noise, many_factors).mean(axis=0), evaluate.mutual_information_gap(noise, many_factors))
# ```
#
# The information of noise is not 0 on few examples, but near $(20 - 1)(K - 1) / 2N$ for a factor of $K$ values: counting finds a pattern
# in any table that is thinly filled. The gap suffers less, since both of its terms are too large.
# </details>
