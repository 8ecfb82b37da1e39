# %% [markdown]
# # 9 · Wasserstein GANs, and a GAN of digits
#
# Notebook 8 ended with a divergence that is flat where two distributions do not touch. This one
#
# 1. computes, between two parallel lines, why the Jensen–Shannon divergence gives a generator no direction and the Wasserstein
#    distance does;
# 2. derives the best critic in one dimension, and trains critics under weight clipping and under a gradient penalty beside it;
# 3. trains a WGAN-GP on points of the plane;
# 4. trains a small DCGAN on handwritten digits, draws from it, walks between its latents, adds and subtracts them, and measures
#    its samples between a floor and a ceiling.
#
# The sources are Arjovsky et al. 2017 (WGAN, arXiv:1701.07875), Gulrajani et al. 2017 (the gradient penalty, arXiv:1704.00028) and
# Radford et al. 2016 (DCGAN, arXiv:1511.06434).

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
from functools import partial

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from jax.nn import softplus

from gen_jax import gan
from gen_jax.evaluate import wasserstein_2
from gen_jax.train import adam, clip_weights

plt.rcParams.update({"figure.figsize": (7, 3), "figure.dpi": 80, "axes.spines.top": False, "axes.spines.right": False})

# %% [markdown]
# ## Two lines that do not touch
#
# The example is that of Arjovsky et al. The data are $(0, u)$ with $u$ uniform on $(0, 1)$; the generator has one parameter, and
# draws $(\theta, u)$. For $\theta \ne 0$ no point of one line is on the other. With $m = \tfrac12(p + q)$, wherever $p$ has mass
# $p/m = 2$, and wherever $q$ has, $q/m = 2$. So
#
# $$\mathrm{JSD}(p, q) = \tfrac12 \log 2 + \tfrac12 \log 2 = \log 2 \quad \text{for every } \theta \ne 0$$
#
# The **Wasserstein distance** asks instead how far mass has to be carried, over all ways $\pi$ to pair points of both:
#
# $$W_1(p, q) = \min_\pi \mathbb E_{(x, y) \sim \pi} \|x - y\| = |\theta|$$
#
# since no point of one line is nearer than $|\theta|$ to the other, and carrying each straight across costs just this. A grid of
# cells of width 0.01 for the divergence, a matching of 200 points for the distance (all pairs of the best matching are equally
# far apart here, so that $W_1 = W_2$, which the library computes):

# %%
columns = np.round(np.arange(-1, 1.001, 0.01), 2)
column_at = lambda theta: np.where(columns == theta, np.log(100.0), -np.inf)  # a line as a column of cells, of mass 1
heights = np.random.default_rng(0).uniform(size=200)
line_at = lambda theta: np.stack([np.full(200, theta), heights], axis=1)

thetas = columns[::5]
divergences = [gan.jensen_shannon(column_at(0.0), column_at(theta), 0.01) for theta in thetas]
distances = [wasserstein_2(line_at(0.0), line_at(theta)) for theta in thetas]
np.testing.assert_allclose(distances, np.abs(thetas), atol=1e-12)
np.testing.assert_allclose([d for d, theta in zip(divergences, thetas, strict=True) if theta], np.log(2), rtol=1e-12)

figure, (left, right) = plt.subplots(1, 2)
left.plot(thetas, divergences, ".")
left.set(xlabel="θ", ylabel="JSD (nats)", ylim=(-0.05, 0.8))
right.plot(thetas, distances, ".")
right.set(xlabel="θ", ylabel="Wasserstein distance")
figure.tight_layout()

# %% [markdown]
# On the left there is nothing to descend: flat, and a jump at 0. On the right the derivative is $\pm 1$ wherever $\theta \ne 0$.
#
# Does a *trained* discriminator behave so? Put $\theta = 1$, train $D$ between the lines, and look after each of its steps at the
# derivative of the generator's loss in $\theta$. An MLP of one example, written out:


# %%
def init(key, sizes):
    keys = jax.random.split(key, len(sizes) - 1)
    shapes = zip(keys, sizes[:-1], sizes[1:], strict=True)
    return [(jax.random.normal(k, (m, n)) * jnp.sqrt(2 / m), jnp.zeros(n)) for k, m, n in shapes]


def network(params, x):  # x [D] -> one number
    for weights, bias in params[:-1]:
        x = jax.nn.relu(x @ weights + bias)
    weights, bias = params[-1]
    return (x @ weights + bias)[0]


on_batch = jax.vmap(network, in_axes=(None, 0))

# %% [markdown]
# The critic of a WGAN returns any number, not a logit, and maximises $\mathbb E_p[f] - \mathbb E_q[f]$. It must be held to slopes of
# at most 1, or it would grow without end. The **gradient penalty** asks for a norm of 1 at random points $\hat x$ between a real
# and a generated example:
#
# $$\lambda\, \mathbb E\left[(\|\nabla f(\hat x)\| - 1)^2\right], \qquad \hat x = \varepsilon x + (1 - \varepsilon) y, \quad
# \varepsilon \sim U(0, 1)$$


# %%
def discriminator_loss(params, key, real, fake):
    return softplus(-on_batch(params, real)).mean() + softplus(on_batch(params, fake)).mean()


def critic_loss(params, real, fake):
    return on_batch(params, fake).mean() - on_batch(params, real).mean()


def slopes(params, points):
    return jnp.linalg.norm(jax.vmap(jax.grad(network, 1), in_axes=(None, 0))(params, points), axis=-1)


def points_between(key, real, fake):
    share = jax.random.uniform(key, (len(real), 1))
    return share * real + (1 - share) * fake


def penalised_loss(params, key, real, fake, weight=10.0):
    steepness = slopes(params, points_between(key, real, fake))
    return critic_loss(params, real, fake) + weight * jnp.mean((steepness - 1) ** 2)


# %% [markdown]
# The library's penalty is a function of any critic of batches. Where real and generated examples are the same, the random $\hat x$
# do not depend on the draw, so that the two can be compared:

# %%
params, points = init(jax.random.key(0), (2, 64, 64, 1)), jax.random.normal(jax.random.key(1), (100, 2))
by_library = gan.gradient_penalty(lambda x: on_batch(params, x), jax.random.key(2), points, points)
by_hand = jax.jit(penalised_loss)(params, jax.random.key(3), points, points, 1.0)  # E_p f − E_q f = 0
print(float(by_library), float(by_hand))
np.testing.assert_allclose(by_library, by_hand, rtol=1e-4)


# %%
def draw_lines(key, theta=1.0, num=256):
    u = jax.random.uniform(key, (2, num))
    return jnp.stack([jnp.zeros(num), u[0]], axis=1), jnp.stack([jnp.full(num, theta), u[1]], axis=1)


def derivatives(loss, generators, key):
    """Train D between the lines, and return the derivatives in θ of the generator's losses after each step."""
    optimizer = adam(1e-3)

    def of_theta(theta, params, key):
        outputs = on_batch(params, draw_lines(key, theta)[1])
        return {name: jax.vmap(of.generator)(outputs).mean() for name, of in generators.items()}

    def step(carry, key):
        params, opt_state = carry
        draw_key, loss_key = jax.random.split(key)
        grads = jax.grad(loss)(params, loss_key, *draw_lines(draw_key))
        updates, opt_state = optimizer.update(grads, opt_state, params)
        params = jax.tree.map(jnp.add, params, updates)
        return (params, opt_state), jax.jacfwd(of_theta)(1.0, params, draw_key)

    params = init(jax.random.key(0), (2, 32, 32, 1))
    train = jax.jit(lambda keys: jax.lax.scan(step, (params, optimizer.init(params)), keys)[1])
    return train(jax.random.split(key, 600))


found = derivatives(discriminator_loss, {"minimax": gan.MINIMAX, "non-saturating": gan.NON_SATURATING}, jax.random.key(1))
found |= derivatives(penalised_loss, {"Wasserstein, gradient penalty": gan.WASSERSTEIN}, jax.random.key(1))
for name, values in found.items():
    plt.semilogy(np.abs(values), label=name)
    print(f"{name}: dloss/dθ = {values[-1]:.4f} after the last step")
plt.xlabel("steps of the discriminator")
plt.ylabel("|dloss/dθ|")
plt.legend()
plt.show()

# %%
assert abs(found["minimax"][-1]) < 0.01
np.testing.assert_allclose(found["Wasserstein, gradient penalty"][-100:], 1, atol=0.2)

# %% [markdown]
# The better $D$ separates the lines, the less the minimax loss moves $\theta$. The non-saturating loss keeps a gradient, whose size
# is the slope of $D$'s logit: a matter of how $D$ was trained, and of no distance. The critic's derivative settles near 1, which is
# that of $W_1 = |\theta|$. So more steps make a critic better, and a WGAN takes several of them for each step of the generator.
#
# ## The best critic
#
# That $\mathbb E_p[f] - \mathbb E_q[f]$ has to do with carrying mass is the duality of Kantorovich and Rubinstein:
#
# $$W_1(p, q) = \max_{\|f\|_L \le 1} \mathbb E_p[f] - \mathbb E_q[f]$$
#
# over all $f$ with slopes of at most 1. In one dimension this can be solved by hand. Integrate by parts, with the cumulative
# distributions $F_p$ and $F_q$:
#
# $$\mathbb E_p[f] - \mathbb E_q[f] = \int f'(x)\, (F_q(x) - F_p(x))\, dx \;\le\; \int |F_q(x) - F_p(x)|\, dx = W_1(p, q)$$
#
# Equality holds for $f'(x) = \mathrm{sign}(F_q(x) - F_p(x))$: **the best critic has slope 1 or −1 wherever there is mass to carry**.
# That is what the gradient penalty asks for.
#
# Take as data two bumps, and as the generator's distribution one bump between them.

# %%
cdf = jax.scipy.stats.norm.cdf
x = jnp.linspace(-4, 4, 801)
F_p = 0.5 * cdf(x, -2, 0.3) + 0.5 * cdf(x, 2, 0.3)
F_q = cdf(x, 0.5, 0.5)
cell = x[1] - x[0]
best_slope = jnp.sign(F_q - F_p)
best = jnp.cumsum(best_slope) * cell
W1 = float(jnp.sum(jnp.abs(F_q - F_p)) * cell)


def draw(key, num=128):
    side, noise, other = (jax.random.normal(k, (num, 1)) for k in jax.random.split(key, 3))
    return 2 * jnp.sign(side) + 0.3 * noise, 0.5 + 0.5 * other


# in one dimension the best matching is that of sorted points
real, fake = draw(jax.random.key(0), 100_000)
sorted_distance = float(jnp.abs(jnp.sort(real, axis=0) - jnp.sort(fake, axis=0)).mean())
print(f"W₁ by the integral: {W1:.4f}, by sorted samples: {sorted_distance:.4f}")
np.testing.assert_allclose(W1, sorted_distance, rtol=0.02)

# %% [markdown]
# ## Weight clipping and the gradient penalty
#
# The first WGAN held the critic's slopes down by clipping every weight to $[-c, c]$ after each step. That bounds them, but by which
# number depends on $c$, on the depth and on the widths. Train the same network with two values of $c$ and under the penalty. A third
# way is the one-sided penalty $\max(0, \|\nabla f\| - 1)^2$ (Petzka et al. 2018, arXiv:1709.08894), which says only what duality
# asks for: slopes of at most 1. Each is trained from eight starting points, by `vmap`.

# %%
NUM_STARTS = 8


def one_sided_loss(params, key, real, fake, weight=10.0):
    steepness = slopes(params, points_between(key, real, fake))
    return critic_loss(params, real, fake) + weight * jnp.mean(jnp.maximum(steepness - 1, 0) ** 2)


def train_critics(loss, optimizer):
    def train(key):
        def step(carry, key):
            params, opt_state = carry
            draw_key, loss_key = jax.random.split(key)
            grads = jax.grad(loss)(params, loss_key, *draw(draw_key))
            updates, opt_state = optimizer.update(grads, opt_state, params)
            return (jax.tree.map(jnp.add, params, updates), opt_state), None

        init_key, steps_key = jax.random.split(key)
        params = init(init_key, (1, 32, 32, 1))
        return jax.lax.scan(step, (params, optimizer.init(params)), jax.random.split(steps_key, 1000))[0][0]

    return jax.jit(jax.vmap(train))(jax.random.split(jax.random.key(1), NUM_STARTS))


unpenalised_loss = lambda params, key, real, fake: critic_loss(params, real, fake)
critics = {
    "clipped, c = 0.01": train_critics(unpenalised_loss, clip_weights(adam(2e-3), 0.01)),
    "clipped, c = 0.1": train_critics(unpenalised_loss, clip_weights(adam(2e-3), 0.1)),
    "gradient penalty": train_critics(penalised_loss, adam(2e-3)),
    "one-sided penalty": train_critics(one_sided_loss, adam(2e-3)),
}

# %% [markdown]
# Of each start: the largest slope, the value $\mathbb E_p[f] - \mathbb E_q[f]$, and the value divided by the largest slope, which is
# that of a critic of slope at most 1, and so at most $W_1$.

# %%
real, fake = draw(jax.random.key(2), 4000)
seen = points_between(jax.random.key(3), real, fake)
steepness = {name: jax.vmap(slopes, (0, None))(params, seen) for name, params in critics.items()}
values = {name: -jax.vmap(critic_loss, (0, None, None))(params, real, fake) for name, params in critics.items()}
scaled = {name: values[name] / steepness[name].max(axis=1) for name in critics}
for name in critics:
    print(f"{name}: largest slope {steepness[name].max(axis=1).min():.1e} to {steepness[name].max(axis=1).max():.1e}")
    print("   value                ", *(f"{value:8.4f}" for value in np.sort(values[name])))
    print("   value / largest slope", *(f"{value:8.4f}" for value in np.sort(scaled[name])))
weights = jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(critics["clipped, c = 0.1"])])
print(f"W₁ = {W1:.3f}; weights at ±c for c = 0.1: {float(jnp.mean(jnp.abs(weights) > 0.0999)):.2f}")

# %%
figure, axes = plt.subplots(1, 4, figsize=(12, 3), sharey=True)
for ax, (name, params) in zip(axes, critics.items(), strict=True):
    f = jax.vmap(on_batch, (0, None))(params, x[:, None]) / steepness[name].max(axis=1, keepdims=True)
    ax.plot(x, (f - f[:, 400:401]).T, color="C0", alpha=0.6)
    ax.plot(x, best - best[400], "k--", label="best")
    ax.fill_between(x, 2 * np.gradient(F_p, cell) - 4, -4, color="0.85")
    ax.fill_between(x, 2 * np.gradient(F_q, cell) - 4, -4, color="C1", alpha=0.2)
    ax.set(xlabel="x (grey: data, orange: generator)", ylim=(-4, 4), title=name)
axes[0].set_ylabel("(f(x) − f(0)) / largest slope")
axes[0].legend(fontsize=8)
figure.tight_layout()

# %%
figure, axes = plt.subplots(1, 4, figsize=(12, 2.4))
for ax, name in zip(axes, critics, strict=True):
    ax.hist(np.asarray(steepness[name]).ravel(), bins=40)
    ax.set(xlabel="|f'| between data and samples", title=name, yticks=[])
    ax.locator_params(axis="x", nbins=4)
figure.tight_layout()

# %%
assert all(value < 1.03 * W1 for values_of in scaled.values() for value in values_of)
assert scaled["one-sided penalty"].min() > 0.85 * W1
assert scaled["gradient penalty"].min() < 0.5 * W1 < 0.85 * W1 < scaled["gradient penalty"].max()

# %% [markdown]
# - **Clipping**: the slope, and so the gradient that a generator would get, changes by orders of magnitude with $c$. Scaled to a
#   largest slope of 1, the critics stay below $W_1$, because they have that slope in few places. Many weights are at $\pm c$, which
#   leaves the network simple functions; a simple one is enough here, and Gulrajani et al. show data where it is not.
# - **One-sided penalty**: all eight starts end at one $f$, near the best. A penalty is no constraint, so the slopes go a little above
#   1 and the values above $W_1$; scaled to slope 1, they are just below it.
# - **Gradient penalty**: its slopes are nearest to 1, but most of these eight starts end with a monotone $f$, of less than half the value. On a
#   line, $f'$ can change its sign only through 0, and a slope of 0 costs $\lambda$: the way from a monotone $f$ to the best one leads
#   uphill. In two and more dimensions the gradient can turn without getting shorter, and this trap is not there.
#
# ## WGAN-GP on points of the plane
#
# Now let a generator follow the critic. In the library that is: the Wasserstein loss, the gradient penalty, five critic steps for one
# of the generator, and Adam without momentum, as in Gulrajani et al. Their weight of the penalty is 10; for this small plane 1 is
# better, and a critic that learns faster than the generator.

# %%
import gen_jax
from gen_jax.data import DataView, load_dataset
from gen_jax.distributions import Normal
from gen_jax.nets import DCGANDiscriminator, DCGANGenerator, MLPDiscriminator, MLPGenerator, batch_net
from gen_jax.train import make_game_step
from gen_jax.types import Adversaries

ring = load_dataset("toy:eight-gaussians")
plane_gan = gan.generative_adversarial_network(
    batch_net(MLPGenerator((128, 128), (2,))),
    batch_net(MLPDiscriminator((128, 128))),
    prior=Normal(jnp.zeros(2), jnp.ones(2)),
)
fitted = gen_jax.fit(
    jax.random.key(0),
    plane_gan,
    gan.adversarial_losses(plane_gan, gan.WASSERSTEIN, gan.gradient_penalty, penalty_weight=1.0, joint_batch=True),
    ring,
    epochs=20,
    batch_size=5 * 128,  # of all five critic steps
    optimizer=Adversaries(generator=adam(5e-4, b1=0.0, b2=0.9), discriminator=adam(2e-3, b1=0.0, b2=0.9)),
    make_step=partial(make_game_step, num_disc_steps=5),
)
params, state = fitted.params
print(f"{int(fitted.state.step)} steps of the generator")

# %% [markdown]
# Minus the critic's loss, without the penalty, estimates $W_1$ between data and samples, so that here, unlike in the minimax game, a
# loss says how training goes. Beside it is the critic itself: it rises from the middle to the modes, which is the way that samples are sent.

# %%
z = gan.draw_latents(plane_gan.prior, jax.random.key(1), 2000)
drawn = np.asarray(plane_gan.generate(params, state, jax.random.key(2), z)[0])
side = jnp.linspace(-4.5, 4.5, 100)
plane = jnp.stack(jnp.meshgrid(side, side), axis=-1).reshape(-1, 2)
heights = plane_gan.discriminate(params, state, plane)[0].logits.reshape(100, 100)

figure, (left, middle, right) = plt.subplots(1, 3, figsize=(11, 3.4))
left.plot([row["epoch"] for row in fitted.history], [-row["train_discriminator_loss"] for row in fitted.history], ".-")
left.set(xlabel="epoch", ylabel="−loss of the critic", ylim=(0, None))
middle.plot(*ring.test.x[:2000].T, ".", color="0.6", markersize=2, label="data")
middle.plot(*drawn.T, ".", color="C1", markersize=2, alpha=0.6, label="samples")
middle.set(aspect="equal", xlim=(-4.5, 4.5), ylim=(-4.5, 4.5))
middle.legend(loc="center", fontsize=8, markerscale=4)
right.contourf(side, side, heights, levels=20)
right.plot(*ring.test.x[:300].T, "w.", markersize=1)
right.set(aspect="equal", title="critic")
figure.tight_layout()

# %% [markdown]
# The penalty sees the critic at points between data and samples. There, the norm of its gradient should be near 1:

# %%
real, fake = jnp.asarray(ring.test.x[:2000]), jnp.asarray(drawn)
critic = lambda x: plane_gan.discriminate(params, state, x)[0].logits
norms = jnp.sqrt(gan.gradient_norms_squared(critic, points_between(jax.random.key(3), real, fake)))
plt.hist(np.asarray(norms), bins=50, range=(0, 2))
plt.xlabel("‖∇f‖ between data and samples")
print(f"median {float(jnp.median(norms)):.2f}")
assert 0.8 < jnp.median(norms) < 1.2

# %% [markdown]
# How near are the samples to the data? The exact distance of two finite samples of one distribution is not 0, so measure training
# points beside them.

# %%
test = ring.test.x[:1000]
print(f"W₂ of samples to test points: {wasserstein_2(test, drawn[:1000]):.3f}")
print(f"of training points:           {wasserstein_2(test, ring.train.x[:1000]):.3f}")
noise = 3 * np.random.default_rng(0).normal(size=(1000, 2))
print(f"of Gaussian noise:            {wasserstein_2(test, noise):.3f}")
assert wasserstein_2(test, drawn[:1000]) < 0.5 * wasserstein_2(test, noise)

# %% [markdown]
# ## A GAN of digits
#
# For images the networks are convolutions: a generator of transposed convolutions, 7 → 14 → 28 pixels, and a discriminator that
# mirrors it, both with batch norm. The game is the non-saturating one of notebook 8. The generator ends in a tanh, so the digits are
# scaled to $[-1, 1]$, which is the data's `view`.

# %%
view = DataView(symmetric=True)
digits = load_dataset("mnist-5k", "none")._replace(view=view)
LATENT = 64
model = gan.generative_adversarial_network(
    batch_net(DCGANGenerator((32, 16), (28, 28, 1))),
    batch_net(DCGANDiscriminator((16, 32))),
    prior=Normal(jnp.zeros(LATENT), jnp.ones(LATENT)),
)
optimizer = adam(1e-3, b1=0.5)
fitted = gen_jax.fit(
    jax.random.key(0),
    model,
    gan.adversarial_losses(model, gan.NON_SATURATING),
    digits,
    epochs=8,
    batch_size=64,
    optimizer=Adversaries(optimizer, optimizer),
    ema_decay=0.99,
)
params = fitted.params
print(f"{len(digits.train.x)} digits, {int(fitted.state.step)} steps")

# %% [markdown]
# `ema_decay` evaluates a moving average of the generator's parameters, which circles less than they do: the average over a turn of
# a circle is its centre.
#
# What is done with a trained model is a task. Samples:

# %%
from gen_jax import plots, tasks

images = tasks.sample(model, params, jax.random.key(1), 40, view=view)
plots.image_grid(images, 10)

# %% [markdown]
# The strokes are those of handwriting. Some samples can be read at once, and others are strokes that make no digit, or two. The last
# section says how many, in numbers.
#
# ## Interpolation: a line or an arc
#
# Where do latents lie? $\|z\|^2$ is a sum of $Z$ squares with mean 1 each, so its mean is $Z$ and its standard deviation
# $\sqrt{2Z}$: nearly all $z$ are near the sphere of radius $\sqrt Z$. The middle of a straight line between two of them, which are
# nearly orthogonal, has the norm $\sqrt{Z/2}$, where the prior puts almost nothing and the generator was never trained. An arc stays
# on the sphere (White 2016, arXiv:1609.04468). With the angle $\omega$ between $a$ and $b$:
#
# $$z(t) = \frac{\sin((1 - t)\, \omega)}{\sin \omega}\, a + \frac{\sin(t\, \omega)}{\sin \omega}\, b$$


# %%
def line(a, b, t):
    return (1 - t) * a + t * b


def arc(a, b, t):
    omega = jnp.arccos(jnp.vdot(a, b) / (jnp.linalg.norm(a) * jnp.linalg.norm(b)))
    return (jnp.sin((1 - t) * omega) * a + jnp.sin(t * omega) * b) / jnp.sin(omega)


NUM_PATHS, NUM_TIMES = 200, 9
times = jnp.linspace(0, 1, NUM_TIMES)
starts, ends = gan.draw_latents(model.prior, jax.random.key(2), 2 * NUM_PATHS).reshape(2, NUM_PATHS, LATENT)
paths = {path.__name__: jax.vmap(jax.vmap(path, (None, None, 0)), (0, 0, None))(starts, ends, times) for path in (line, arc)}
norms = jnp.linalg.norm(gan.draw_latents(model.prior, jax.random.key(3), 5000), axis=1)
plt.hist(np.asarray(norms), bins=60, orientation="horizontal", density=True, color="0.8", label="draws of z")
for name, z in paths.items():
    plt.plot(times, jnp.linalg.norm(z, axis=-1).mean(axis=0), ".-", label=name)
plt.axhline(np.sqrt(LATENT), color="0.5", linestyle="--", label="√Z")
plt.xlabel("t; density of the draws")
plt.ylabel("‖z‖")
plt.ylim(0, 11)
plt.legend()
plt.show()

# %% [markdown]
# The library's `interpolate` decodes both paths; with the same key both have the same ends. Arcs in odd rows, lines in even ones.
# To the eye they differ little:

# %%
decoded = {
    path: tasks.interpolate(model, params, jax.random.key(4), 3, NUM_TIMES, path=path, view=view)
    for path in ("spherical", "linear")
}
for end in (0, -1):
    np.testing.assert_allclose(decoded["spherical"][:, end], decoded["linear"][:, end], atol=1e-4)
rows = jnp.stack([decoded["spherical"], decoded["linear"]], axis=1).reshape(-1, 28, 28, 1)
plots.image_grid(rows, NUM_TIMES)

# %% [markdown]
# Does it matter? A classifier of digits, which the library trains for its measures, can be asked how sure it is of what it sees.

# %%
from gen_jax.tasks.sample_quality import classifier_of

classifier = classifier_of(digits)
print(f"of test digits it names {classifier.accuracy:.3f} rightly")


def generate(z):
    return view.from_model(model.generate(*params, jax.random.key(0), z)[0])


for name, z in paths.items():
    sure = classifier.probabilities(generate(z.reshape(-1, LATENT))).max(axis=1).reshape(NUM_PATHS, NUM_TIMES)
    error = sure.std(axis=0) / np.sqrt(NUM_PATHS)
    plt.errorbar(times, sure.mean(axis=0), 2 * error, capsize=2, label=name)
    print(name, np.round(sure.mean(axis=0), 3))
plt.xlabel("t")
plt.ylabel("largest probability, mean")
plt.legend()
plt.show()

# %% [markdown]
# Bars are two standard errors. On arcs the classifier is about as sure all the way as at the ends; on lines it is less sure in the
# middle. The difference is a few per cent, and a classifier's certainty is only one view of it: exercise 3 has another.
#
# ## Arithmetic with latents
#
# Radford et al. found that "smiling woman" − "neutral woman" + "neutral man" is a smiling man, if each term is the mean of a few
# latents. On digits: bold $a$ − thin $a$ + thin $b$ should be bold $b$. The mean of several latents has a smaller norm than one latent,
# so the sum is scaled back to $\sqrt Z$:
#
# $$z = \sqrt Z\, \frac{s}{\|s\|}, \qquad s = \bar z_{\text{bold } a} - \bar z_{\text{thin } a} + \bar z_{\text{thin } b}$$

# %%
z = gan.draw_latents(model.prior, jax.random.key(5), 2000)
of_z = generate(z)
named, brightness = classifier.probabilities(of_z).argmax(axis=1), np.asarray(of_z.mean(axis=(1, 2, 3)))


def terms(a, b, num=3):
    """Return the rows of z of the brightest a, the darkest a and the darkest b, without the outermost twentieth."""

    def of(label, share):
        rows = np.flatnonzero(named == label)
        rows = rows[np.argsort(brightness[rows])]
        at = int(share * (len(rows) - num))
        return rows[at : at + num]

    return of(a, 0.95), of(a, 0.05), of(b, 0.05)


rows = []
for a, b in ((0, 7), (3, 9), (8, 1)):
    like, without, base = terms(a, b)
    s = z[like].mean(axis=0) - z[without].mean(axis=0) + z[base].mean(axis=0)
    by_hand = jnp.sqrt(LATENT) * s / jnp.linalg.norm(s)
    np.testing.assert_allclose(gan.analogy(z[like], z[without], z[base]), by_hand, rtol=1e-4, atol=1e-5)
    rows.append(jnp.concatenate([of_z[like], of_z[without], of_z[base], generate(by_hand[None])]))
plots.image_grid(jnp.concatenate(rows), 10, "bold a, thin a, thin b (three each), and the sum")

# %% [markdown]
# Three pictures are not evidence. Over all pairs of different digits: how often is the sum named $b$, and is it brighter than each of
# the three thin $b$ that went into it?

# %%
counts = np.bincount(named, minlength=10)
pairs = [(a, b) for a in range(10) for b in range(10) if a != b and min(counts[a], counts[b]) >= 20]
sums = jnp.stack([gan.analogy(*(z[term] for term in terms(a, b))) for a, b in pairs])
of_sums = generate(sums)
right_digit = classifier.probabilities(of_sums).argmax(axis=1) == np.array([b for _, b in pairs])
brighter = np.asarray(of_sums.mean(axis=(1, 2, 3))) > [brightness[terms(a, b)[2]].max() for a, b in pairs]
print(f"{len(pairs)} pairs: the sum is named b in {right_digit.mean():.2f} of them, and is brighter in {brighter.mean():.2f}")
assert brighter.mean() > 0.8
print("samples named 0 … 9:", counts)

# %% [markdown]
# ## How good are the samples?
#
# No single number says. `tasks.quality` compares samples with test digits in the features of the classifier above: a Fréchet
# distance (lower is better), precision (samples that look like data) and recall (data that samples look like), and others. It
# measures training digits too, which no model of this size of sample can be expected to beat (the floor), and noise (the ceiling).
# These features are those of a classifier of digits, so none of the numbers is an FID.

# %%
measured = tasks.quality(model, params, jax.random.key(6), digits, num=500, view=view)
names = ["frechet_distance", "precision", "recall", "density", "coverage", "classifier_score", "sliced_wasserstein"]
print(f"{'':20}" + "".join(f"{row:>20}" for row in measured))
for name in names:
    print(f"{name:20}" + "".join(f"{row[name]:>20.3f}" for row in measured.values()))
frechet = {row: numbers["frechet_distance"] for row, numbers in measured.items()}
assert frechet["training examples"] < frechet["model"] < frechet["noise"]

# %% [markdown]
# Each column says something else. Most samples lie among the digits (precision), and about half of the digits have no sample near
# them (recall, coverage): after eight passes over 4,000 digits the model is far from done. The noise has a precision above 0, so that
# precision alone says little. The recipe `gan-mnist` trains MLPs on the same digits for longer; `gen-jax quality RUN` measures any run
# in this way.
#
# The arithmetic says something too. The sums are bolder almost without exception, so there is a direction of boldness in the space of
# latents, and it is shared by the digits. Which digit a sum shows is less sure, though far above the tenth that a guess would get.
#
# ## Exercises
#
# **1.** With the penalty, the largest slope was above 1. Let a critic have the slope $s$ wherever there is mass to carry. Which $s$ is
# best under $\lambda (s - 1)^2$, and what is the value then? Compare with what was printed for the one-sided penalty.
#
# <details><summary>Solution</summary>
#
# The critic maximises $s W_1 - \lambda (s - 1)^2$, so $s = 1 + W_1 / 2\lambda$, and the value is $s W_1$.
#
# ```python
# s = 1 + W1 / (2 * 10.0)
# print(s, s * W1, np.sort(values["one-sided penalty"]))
# ```
#
# The bias falls as $1/\lambda$, and with $W_1$: it is smallest at the end of training.
# </details>
#
# **2.** Which $f$ is the best critic between the two lines of the first section? Check its value on `draw_lines`.
#
# <details><summary>Solution</summary>
#
# $f(x) = -x_1$ for $\theta > 0$: its slope is 1 in the direction from one line to the other.
#
# ```python
# p_line, q_line = draw_lines(jax.random.key(0), theta=0.7)
# print(float((-p_line[:, 0]).mean() - (-q_line[:, 0]).mean()))  # θ
# ```
#
# Adding to it any function that vanishes on both lines, and keeps slopes at most 1, changes nothing: the best critic is not unique.
# </details>
#
# **3.** Draw digits from $0.7 z$ instead of $z$, and measure precision and recall with `tasks.sample_quality.measure`. What is traded
# for what?
#
# <details><summary>Solution</summary>
#
# ```python
# z = gan.draw_latents(model.prior, jax.random.key(7), 500)
# for scale in (1.0, 0.7, 0.4):
#     numbers = tasks.sample_quality.measure(digits, "test", generate(scale * z))
#     print(scale, {name: round(numbers[name], 3) for name in ("frechet_distance", "precision", "recall", "coverage")})
# ```
#
# Recall for precision. Samples come nearer to what is typical, and fewer kinds of digits remain; the Fréchet distance, which sees
# both, rises. The middle of a straight line is at the scale $1/\sqrt 2 \approx 0.7$.
# </details>
