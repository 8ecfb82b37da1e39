# %% [markdown]
# # 8 · The minimax game
#
# A GAN has no likelihood. Its generator $G$ turns noise $z$ into an example, and it learns from a second network, the
# discriminator $D$, which tells real examples from generated ones. The two play a game (Goodfellow et al. 2014, arXiv:1406.2661):
#
# $$\min_G \max_D V(D, G), \qquad V(D, G) = \mathbb E_{x \sim p}[\log D(x)] + \mathbb E_{x \sim q}[\log(1 - D(x))]$$
#
# Here $p$ is the distribution of the data and $q$ that of $G(z)$. This notebook
#
# 1. derives the best discriminator, $D^* = p / (p + q)$, and trains one that comes near to it;
# 2. derives the value $V(D^*, G) = -2 \log 2 + 2\, \mathrm{JSD}(p, q)$, and integrates it;
# 3. shows where the generator's gradient vanishes, and the loss that is used instead;
# 4. follows the smallest GAN, of two numbers, on its circle, and what the penalty R1 does to it;
# 5. trains sixteen GANs at once on a ring of Gaussians, with R1 and without, and counts the modes that they find.

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
from jax.nn import sigmoid, softplus

from gen_jax import gan
from gen_jax.train import adam

plt.rcParams.update({"figure.figsize": (7, 3), "figure.dpi": 80, "axes.spines.top": False, "axes.spines.right": False})

# %% [markdown]
# ## The best discriminator
#
# Write $V$ as one integral. $D$ may have any value at each $x$, so the integrand can be maximised at each $x$ by itself:
#
# $$V(D, G) = \int p(x) \log D(x) + q(x) \log(1 - D(x))\, dx$$
#
# With $a = p(x)$, $b = q(x)$ and $D(x) = d$ the derivative of $a \log d + b \log(1 - d)$ is $a/d - b/(1 - d)$. It is zero at
# $d = a/(a + b)$, and the second derivative, $-a/d^2 - b/(1-d)^2$, is negative everywhere. So
#
# $$D^*(x) = \frac{p(x)}{p(x) + q(x)}$$

# %%
d = jnp.linspace(0.001, 0.999, 999)
for a, b in ((1.0, 1.0), (0.9, 0.3), (0.1, 0.9)):
    curve = a * jnp.log(d) + b * jnp.log(1 - d)
    (line,) = plt.plot(d, curve, label=f"p = {a}, q = {b}")
    best = a / (a + b)
    plt.plot(best, a * np.log(best) + b * np.log(1 - best), "o", color=line.get_color())
    assert abs(float(d[curve.argmax()]) - best) < 0.002
plt.ylim(-4, 0)
plt.xlabel("D(x)")
plt.ylabel("p log D + q log(1 − D)")
plt.legend()
plt.show()

# %% [markdown]
# $D$ is a probability, and the network returns its **logit** $l$, so that $D = \sigma(l)$. The logit of $D^*$ is the log-ratio of
# the two densities:
#
# $$l^*(x) = \log \frac{D^*}{1 - D^*} = \log p(x) - \log q(x)$$
#
# In this form the two losses need no logarithm of a number near 0: $-\log \sigma(l) = \mathrm{softplus}(-l)$ and
# $-\log(1 - \sigma(l)) = \mathrm{softplus}(l)$.
#
# ## A discriminator between two Gaussians
#
# Take two densities that we know, so that we also know $D^*$.

# %%
LOC, SCALE = jnp.array([-1.0, 1.5]), jnp.array([1.0, 0.6])  # of the data p and of the generator q


def log_normal(x, loc, scale):
    return -0.5 * ((x - loc) / scale) ** 2 - jnp.log(scale) - 0.5 * jnp.log(2 * jnp.pi)


x = jnp.linspace(-5, 4, 901)
log_p, log_q = (log_normal(x, LOC[i], SCALE[i]) for i in (0, 1))
best_logit = log_p - log_q
np.testing.assert_array_equal(gan.optimal_discriminator_logit(log_p, log_q), best_logit)  # the library's

# %% [markdown]
# The discriminator is an MLP of one example, written out: one number in, one logit out.


# %%
def init(key, sizes=(1, 32, 32, 1)):
    keys = jax.random.split(key, len(sizes) - 1)
    shapes = zip(keys, sizes[:-1], sizes[1:], strict=True)
    return [(jax.random.normal(k, (m, n)) / jnp.sqrt(m), jnp.zeros(n)) for k, m, n in shapes]


def logit(params, x):
    h = x[None]
    for weights, bias in params[:-1]:
        h = jnp.tanh(h @ weights + bias)
    weights, bias = params[-1]
    return (h @ weights + bias)[0]


def discriminator_loss(params, real, fake):
    on_real, on_fake = (jax.vmap(logit, in_axes=(None, 0))(params, batch) for batch in (real, fake))
    return softplus(-on_real).mean() + softplus(on_fake).mean()  # −V


# %% [markdown]
# The library's `MINIMAX` is the same three functions of a logit: what $D$ minimises on real and on generated examples, and what
# $G$ minimises.

# %%
params = init(jax.random.key(0))
real, fake = (LOC[i] + SCALE[i] * jax.random.normal(jax.random.key(i), (100,)) for i in (0, 1))
logits = [jax.vmap(logit, in_axes=(None, 0))(params, batch) for batch in (real, fake)]
np.testing.assert_allclose(gan.discriminator_loss(gan.MINIMAX, *logits), discriminator_loss(params, real, fake), rtol=1e-6)

# %% [markdown]
# Train it on fresh draws of both. All steps are one `scan`.

# %%
NUM_STEPS, BATCH = 3000, 256
optimizer = adam(lambda count: 5e-3 * 0.5 * (1 + jnp.cos(jnp.pi * count / NUM_STEPS)))


@jax.jit
def train_discriminator(params, key):
    def step(carry, key):
        params, opt_state = carry
        noise = jax.random.normal(key, (2, BATCH))
        value, grads = jax.value_and_grad(discriminator_loss)(params, *(LOC[:, None] + SCALE[:, None] * noise))
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return (jax.tree.map(jnp.add, params, updates), opt_state), value

    (params, _), losses = jax.lax.scan(step, (params, optimizer.init(params)), jax.random.split(key, NUM_STEPS))
    return params, losses


params, losses = train_discriminator(params, jax.random.key(2))
learnt_logit = jax.vmap(logit, in_axes=(None, 0))(params, x)

# %%
figure, (left, middle, right) = plt.subplots(1, 3, figsize=(10, 3))
left.plot(x, jnp.exp(log_p), label="p, data")
left.plot(x, jnp.exp(log_q), label="q, generator")
left.set(xlabel="x", ylabel="density")
left.legend()
middle.plot(x, sigmoid(best_logit), "k", label="p/(p + q)")
middle.plot(x, sigmoid(learnt_logit), "C2--", label="trained")
middle.set(xlabel="x", ylabel="D(x)")
middle.legend()
right.plot(x, best_logit, "k", label="log p − log q")
right.plot(x, learnt_logit, "C2--", label="trained")
right.set(xlabel="x", ylabel="logit")
right.legend()
figure.tight_layout()

# %% [markdown]
# Where either density is not tiny, the trained $D$ lies on $p/(p + q)$. Far to the left the logits differ by much: almost no
# example falls there, and $\sigma$ is flat, so that nothing teaches the network the difference. $D$ itself is 1 either way.

# %%
seen = jnp.exp(log_p) + jnp.exp(log_q) > 0.02
error = jnp.abs(sigmoid(learnt_logit) - sigmoid(best_logit))
print(f"largest |D − D*| where p + q > 0.02: {float(error[seen].max()):.3f}")
assert error[seen].max() < 0.05
for at in (-4.5, 0.5):
    i = int(jnp.argmin(jnp.abs(x - at)))
    print(f"at x = {at}: logit {float(learnt_logit[i]):.1f}, log p − log q = {float(best_logit[i]):.1f}")

# %% [markdown]
# ## The value of the game is a divergence
#
# Put $D^*$ into $V$, with $m = \tfrac12 (p + q)$, so that $D^* = p/2m$ and $1 - D^* = q/2m$:
#
# $$V(D^*, G) = \int p \log \frac{p}{2m} + \int q \log \frac{q}{2m} = -2 \log 2 + \mathrm{KL}(p \,\|\, m) + \mathrm{KL}(q \,\|\, m)
# = -2 \log 2 + 2\, \mathrm{JSD}(p, q)$$
#
# The Jensen–Shannon divergence is the mean of the two KLs. It is 0 for $p = q$ only, so the game has one best $q$, the data's
# distribution, with the value $-2 \log 2$. It is at most $\log 2$.
#
# Both sides as sums over a grid: the value by its definition, as an expectation of $\log D^*$, and the divergence by its own.

# %%
grid = np.linspace(-12, 12, 24_001)
cell = grid[1] - grid[0]


def densities(shift):
    """Log-densities of N(0, 1) and of N(shift, 1) on the grid, in float64."""
    return tuple(-0.5 * (grid - loc) ** 2 - 0.5 * np.log(2 * np.pi) for loc in (0.0, shift))


def value_by_hand(log_p, log_q):
    log_d = -np.logaddexp(0, log_q - log_p)  # log σ(l*)
    log_not_d = -np.logaddexp(0, log_p - log_q)
    return cell * np.sum(np.exp(log_p) * log_d + np.exp(log_q) * log_not_d)


def jsd_by_hand(log_p, log_q):
    log_m = np.logaddexp(log_p, log_q) - np.log(2)
    return 0.5 * cell * np.sum(np.exp(log_p) * (log_p - log_m) + np.exp(log_q) * (log_q - log_m))


for shift in (0.0, 1.0, 3.0):
    pair = densities(shift)
    value, divergence = value_by_hand(*pair), jsd_by_hand(*pair)
    print(f"shift {shift}: V(D*) = {value:.6f}, −2 log 2 + 2 JSD = {-2 * np.log(2) + 2 * divergence:.6f}")
    np.testing.assert_allclose(value, -2 * np.log(2) + 2 * divergence, atol=1e-9)
    np.testing.assert_allclose(gan.game_value(*pair, cell), value, atol=1e-9)  # the library's
    np.testing.assert_allclose(gan.jensen_shannon(*pair, cell), divergence, atol=1e-9)

# %% [markdown]
# The discriminator that we trained is not quite the best, so its value is below $V(D^*)$: a trained $D$ gives a *lower bound*.

# %%
p, q = jnp.exp(log_p), jnp.exp(log_q)
width = float(x[1] - x[0])
value_of = lambda logits: -width * float(jnp.sum(p * softplus(-logits) + q * softplus(logits)))
print(f"V of the trained D: {value_of(learnt_logit):.4f}, of D*: {value_of(best_logit):.4f}")
assert value_of(best_logit) - 0.02 < value_of(learnt_logit) < value_of(best_logit)

# %% [markdown]
# As a function of how far apart the two are, the divergence rises, and then it is flat:

# %%
shifts = np.linspace(0, 8, 41)
divergences = np.array([gan.jensen_shannon(*densities(shift), cell) for shift in shifts])
figure, (left, right) = plt.subplots(1, 2)
left.plot(shifts, divergences)
left.axhline(np.log(2), color="0.5", linestyle="--", label="log 2")
left.set(xlabel="distance of the means", ylabel="JSD (nats)")
left.legend()
right.semilogy(shifts[:-1] + 0.1, np.diff(divergences) / 0.2)
right.set(xlabel="distance of the means", ylabel="its slope")
figure.tight_layout()

# %% [markdown]
# The slope is what would pull the generator to the data. At a distance of 8 almost nothing is left of it. This is a property of
# the divergence, not of a network; notebook 9 takes another divergence.
#
# ## The generator's two losses
#
# $G$ minimises $\mathbb E[\log(1 - D(G(z)))]$. In terms of the logit of one generated example, this and its derivative are
#
# $$\log(1 - \sigma(l)) = -\mathrm{softplus}(l), \qquad \frac{d}{dl} = -\sigma(l)$$
#
# Early in training $D$ wins: $l$ is very negative on generated examples, and the factor $\sigma(l) \approx e^l$ removes the
# gradient. The same paper proposes another loss for $G$, with the same direction and another factor, the **non-saturating** one:
#
# $$-\log \sigma(l) = \mathrm{softplus}(-l), \qquad \frac{d}{dl} = -\sigma(-l)$$

# %%
logits = jnp.linspace(-8, 8, 161)
figure, (left, right) = plt.subplots(1, 2)
for name, loss in {"minimax": gan.MINIMAX, "non-saturating": gan.NON_SATURATING}.items():
    left.plot(logits, jax.vmap(loss.generator)(logits), label=name)
    right.semilogy(logits, jax.vmap(partial(gan.generator_gradient_norm, loss))(logits), label=name)
left.set(xlabel="logit of a generated example", ylabel="loss of the generator")
right.set(xlabel="logit of a generated example", ylabel="|derivative|")
left.legend()
figure.tight_layout()
np.testing.assert_allclose(jax.vmap(jax.grad(gan.MINIMAX.generator))(logits), -sigmoid(logits), rtol=1e-5)
np.testing.assert_allclose(jax.vmap(jax.grad(gan.NON_SATURATING.generator))(logits), -sigmoid(-logits), rtol=1e-5)

# %% [markdown]
# What this does to a generator: let $p = N(0, 1)$, $q = N(\theta, 1)$, and let $D$ be the best one at every step, with the logit
# $l^*(x) = \log p(x) - \log q(x) = \theta^2/2 - \theta x$. $G$ draws $x = \theta + z$, and gets the gradient of its loss through
# $x$ only, with $D^*$ held fixed. This is `stop_gradient`.


# %%
def generator_loss(theta, loss, noise):
    at = jax.lax.stop_gradient(theta)
    logits = at**2 / 2 - at * (theta + noise)
    return jax.vmap(loss.generator)(logits).mean()


noise = jax.random.normal(jax.random.key(3), (2000,))


def descend(loss, start, num_steps=300, rate=0.2):
    step = lambda theta, _: (theta - rate * jax.grad(generator_loss)(theta, loss, noise), theta)
    return jax.lax.scan(step, jnp.float32(start), length=num_steps)[1]


for color, (name, loss) in zip(("C0", "C1"), {"minimax": gan.MINIMAX, "non-saturating": gan.NON_SATURATING}.items(), strict=True):
    for start in (2.0, 4.0, 6.0, 8.0):
        plt.plot(descend(loss, start), color=color, label=name if start == 2.0 else None)
plt.xlabel("step of G")
plt.ylabel("θ")
plt.legend()
assert descend(gan.MINIMAX, 8.0)[-1] > 7.5
assert abs(descend(gan.NON_SATURATING, 8.0)[-1]) < 0.1

# %% [markdown]
# From 2 both arrive soon. From 4 and 6 minimax creeps until $q$ comes near to $p$, and from 8 it has hardly moved in 300 steps.
# The non-saturating loss starts at once, and fastest from furthest away.
#
# The other loss is no longer $V$, so what does $G$ minimise now? For the best $D$, its gradient is that of another divergence
# (Arjovsky and Bottou 2017, arXiv:1701.04862):
#
# $$\nabla_\theta\, \mathbb E_q[-\log D^*]\big|_{D^* \text{ fixed}} = \nabla_\theta \left[\mathrm{KL}(q \,\|\, p) - 2\, \mathrm{JSD}(p, q)\right]$$
#
# while the gradient of the minimax loss is that of $2\, \mathrm{JSD}$. With $\mathrm{KL}(q \,\|\, p) = \theta^2/2$ here, compare
# both sides at $\theta = 2$: an expectation over $z$ on the left, a difference quotient of integrals on the right.

# %%
theta, h = 2.0, 1e-3
of_jsd = (gan.jensen_shannon(*densities(theta + h), cell) - gan.jensen_shannon(*densities(theta - h), cell)) / (2 * h)
z = jnp.linspace(-8, 8, 16_001)
weights = jnp.exp(log_normal(z, 0.0, 1.0)) * (z[1] - z[0])


def expected_gradient(loss):
    return jax.grad(lambda theta: jnp.sum(weights * jax.vmap(loss.generator)(2.0**2 / 2 - 2.0 * (theta + z))))(theta)


print(f"minimax:        {expected_gradient(gan.MINIMAX):.5f}, gradient of 2 JSD:      {2 * of_jsd:.5f}")
print(f"non-saturating: {expected_gradient(gan.NON_SATURATING):.5f}, gradient of KL − 2 JSD: {theta - 2 * of_jsd:.5f}")
np.testing.assert_allclose(expected_gradient(gan.MINIMAX), 2 * of_jsd, rtol=1e-3)
np.testing.assert_allclose(expected_gradient(gan.NON_SATURATING), theta - 2 * of_jsd, rtol=1e-3)

# %% [markdown]
# $\mathrm{KL}(q \,\|\, p)$ punishes samples where there are no data, and not modes that are missing. The non-saturating loss is
# the default of this library's recipes, and missing modes are the subject of the last section.
#
# ## The smallest GAN
#
# So far $D$ was the best one at every step. In practice both networks move, and a game need not converge even where its value is
# simple. The Dirac-GAN of Mescheder et al. 2018 (arXiv:1801.04406) shows it with two numbers. The data are always 0, the generator
# always draws $\theta$, and the discriminator's logit is $D(x) = \psi x$. Then
#
# $$V(\psi, \theta) = \log \sigma(0) + \log(1 - \sigma(\psi \theta)) = -\log 2 - \mathrm{softplus}(\psi\theta)$$
#
# $D$ ascends in $\psi$ and $G$ descends in $\theta$. In continuous time:
#
# $$\dot\theta = \sigma(\psi\theta)\, \psi, \qquad \dot\psi = -\sigma(\psi\theta)\, \theta$$
#
# The only equilibrium is $(0, 0)$. But $\frac{d}{dt} \tfrac12 (\theta^2 + \psi^2) = \theta\dot\theta + \psi\dot\psi = 0$: the
# distance to it never changes. **The two go round on a circle.**
#
# A step of size $h$ leaves the circle. If both use the same $(\theta, \psi)$, *simultaneous* steps, the displacement is tangential,
# so $r^2$ grows by the factor $1 + h^2 \sigma^2$ at each. If $G$ uses the new $\psi$, *alternating* steps, it stays near.


# %%
def dirac_step(state, h=0.2, gamma=0.0, alternating=False):
    theta, psi = state
    value = lambda theta, psi: -jnp.log(2.0) - softplus(psi * theta)
    new_psi = psi + h * (jax.grad(value, 1)(theta, psi) - gamma * psi)  # γψ: below
    seen = new_psi if alternating else psi
    return theta - h * jax.grad(value, 0)(theta, seen), new_psi


def trajectory(step, start=(1.0, 0.0), num_steps=150):
    def body(state, _):
        return step(state), jnp.stack(state)

    return jax.lax.scan(body, tuple(map(jnp.float32, start)), length=num_steps)[1]


# the library has the same step, for any of its losses
for alternating in (False, True):
    mine = dirac_step((jnp.float32(0.7), jnp.float32(-0.4)), 0.2, 0.5, alternating)
    its = gan.dirac_gan_step(gan.MINIMAX, (jnp.float32(0.7), jnp.float32(-0.4)), 0.2, 0.5, alternating)
    np.testing.assert_allclose(mine, its, rtol=1e-6)

# %%
corners = jnp.linspace(-2, 2, 13)
theta, psi = jnp.meshgrid(corners, corners)


def draw_flow(axes, gamma):
    axes.quiver(theta, psi, sigmoid(psi * theta) * psi, -sigmoid(psi * theta) * theta - gamma * psi, color="0.75", width=0.004)
    for alternating, name in ((False, "simultaneous"), (True, "alternating")):
        path = trajectory(partial(dirac_step, gamma=gamma, alternating=alternating))
        axes.plot(*path.T, ".-", markersize=3, linewidth=0.8, label=f"{name} steps")
    axes.plot(1, 0, "ko")
    axes.plot(0, 0, "k+", markersize=10)
    axes.set(xlabel="θ", ylabel="ψ", xlim=(-2.1, 2.1), ylim=(-2.1, 2.1), aspect="equal", title=f"γ = {gamma}")


figure, axes = plt.subplots(1, 2, figsize=(9, 4.4))
for ax, gamma in zip(axes, (0.0, 0.5), strict=True):
    draw_flow(ax, gamma)
axes[0].legend(loc="upper right", fontsize=8)
figure.tight_layout()

# %% [markdown]
# On the left, no penalty: simultaneous steps spiral out, alternating ones go round. On the right, both spiral in. What is added
# there is **R1**, a penalty on the gradient of $D$ at real examples:
#
# $$R_1 = \frac\gamma2\, \mathbb E_{x \sim p} \|\nabla_x D(x)\|^2, \qquad \text{here } \frac\gamma2 \psi^2$$
#
# It takes $\gamma\psi$ from $\dot\psi$, a friction. The equilibrium stays where it was, because there $\psi = 0$.
#
# ## Eigenvalues
#
# Near the equilibrium a step is linear, and its Jacobian says all. For simultaneous steps, with $\sigma(0) = \tfrac12$:
#
# $$J = I + h \begin{pmatrix} 0 & \tfrac12 \\ -\tfrac12 & -\gamma \end{pmatrix}, \qquad
# \lambda = 1 + h \left(-\tfrac\gamma2 \pm \sqrt{\tfrac{\gamma^2}{4} - \tfrac14}\right)$$
#
# Steps converge if both $|\lambda| < 1$. Without R1, $|\lambda| = \sqrt{1 + h^2/4} > 1$ for every step size. Alternating steps
# multiply areas by $\det J = 1 - h\gamma$, so that with a complex pair $|\lambda| = \sqrt{1 - h\gamma}$, which is 1 without R1.


# %%
def eigenvalues(h, gamma, alternating):
    step = lambda state: jnp.stack(dirac_step((state[0], state[1]), h, gamma, alternating))
    return np.linalg.eigvals(np.asarray(jax.jacobian(step)(jnp.zeros(2)), np.complex128))


RATE = 0.2
print("γ     simultaneous            alternating             (largest |λ|)")
for gamma in (0.0, 0.5, 1.0, 2.0):
    found = [np.abs(eigenvalues(RATE, gamma, alternating)).max() for alternating in (False, True)]
    its = [np.abs(gan.dirac_gan_eigenvalues(gan.MINIMAX, RATE, gamma, which)).max() for which in (False, True)]
    np.testing.assert_allclose(found, its, rtol=1e-5)
    print(f"{gamma:.1f}   {found[0]:<22.4f}  {found[1]:.4f}")
np.testing.assert_allclose(np.abs(eigenvalues(RATE, 0.0, False)), np.sqrt(1 + RATE**2 / 4), rtol=1e-6)
np.testing.assert_allclose(np.abs(eigenvalues(RATE, 0.5, True)), np.sqrt(1 - RATE * 0.5), rtol=1e-6)

# %%
gammas = np.linspace(0, 3, 61)
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2))
for alternating, name in ((False, "simultaneous"), (True, "alternating")):
    pairs = np.array([gan.dirac_gan_eigenvalues(gan.MINIMAX, RATE, gamma, alternating) for gamma in gammas])
    left.plot(gammas, np.abs(pairs).max(axis=1), label=name)
    right.plot(
        pairs.real.ravel(), pairs.imag.ravel(), "." if alternating else "o", markersize=3 if alternating else 6, label=name
    )
left.axhline(1, color="0.5", linestyle="--")
left.set(xlabel="γ", ylabel="largest |λ|")
left.legend()
angle = np.linspace(-0.3, 0.3, 100)
right.plot(np.cos(angle), np.sin(angle), color="0.5", linestyle="--", label="unit circle")
right.set(xlabel="real part", ylabel="imaginary part", title="0 ≤ γ ≤ 3")
right.legend(fontsize=8)
figure.tight_layout()

# %% [markdown]
# There is a best γ, near 1, where the square root is zero and the pair meets on the real axis. With less friction the steps
# turn for long; with more, $\psi$ is held so near 0 that it teaches $\theta$ little.
#
# Far from the equilibrium the loss matters too. The distance over 3,000 steps:

# %%
runs = {
    "minimax, simultaneous": (gan.MINIMAX, 0.0, False),
    "minimax, alternating": (gan.MINIMAX, 0.0, True),
    "non-saturating, alternating": (gan.NON_SATURATING, 0.0, True),
    "minimax, alternating, R1 with γ = 0.5": (gan.MINIMAX, 0.5, True),
}
for name, (loss, gamma, alternating) in runs.items():
    path = trajectory(
        lambda state, loss=loss, gamma=gamma, which=alternating: gan.dirac_gan_step(loss, state, 0.1, gamma, which),
        num_steps=3000,
    )
    plt.loglog(1 + np.arange(3000), np.maximum(np.linalg.norm(path, axis=1), 1e-8), label=name)
plt.ylim(1e-4, 1e2)
plt.xlabel("step")
plt.ylabel("distance to the equilibrium")
plt.legend(fontsize=8)
plt.show()

# %% [markdown]
# Non-saturating steps that alternate do come nearer without R1, ever more slowly; with R1, the distance falls exponentially.
# In all that follows, steps alternate and the loss is the non-saturating one.
#
# ## Mode collapse, sixteen seeds at once
#
# Now networks. The data are a ring of eight Gaussians. A generator that puts all its mass on a few of them makes good examples,
# and $D$ notices only by comparing frequencies. One run proves little, since it may be lucky; so train sixteen.

# %%
from gen_jax.data import Split
from gen_jax.distributions import Normal
from gen_jax.evaluate import mode_coverage, wilson_interval
from gen_jax.nets import MLPDiscriminator, MLPGenerator, batch_net
from gen_jax.train import init_state, make_game_step
from gen_jax.types import Adversaries

NUM_MODES, SPREAD = 8, 0.05
turns = 2 * np.pi * np.arange(NUM_MODES) / NUM_MODES
centres = np.stack([np.cos(turns), np.sin(turns)], axis=-1)
rng = np.random.default_rng(0)
points = centres[rng.integers(0, NUM_MODES, 20_000)] + SPREAD * rng.normal(size=(20_000, 2))
points = jnp.asarray(points, jnp.float32)

# %% [markdown]
# A `GAN` is a named tuple of pure functions again, but of batches, because some networks use batch norm.

# %%
model = gan.generative_adversarial_network(
    batch_net(MLPGenerator((64, 64), (2,))),
    batch_net(MLPDiscriminator((64, 64))),
    prior=Normal(jnp.zeros(2), jnp.ones(2)),
)
params, state = model.init(jax.random.key(0), points[0])
drawn, _ = model.generate(params, state, jax.random.key(1), gan.draw_latents(model.prior, jax.random.key(2), 5))
output, _ = model.discriminate(params, state, drawn)
print(drawn.shape, output.logits.shape)

# %% [markdown]
# `adversarial_losses` makes the two losses of a batch. That of $D$ is the softplus from above, plus $\gamma/2$ times the squared
# gradient at real examples. The gradient with respect to $x$ of one example at a time, by hand, against the library's of a batch:

# %%
real = points[:50]
critic = lambda batch: model.discriminate(params, state, batch)[0].logits
of_one = lambda x: critic(x[None])[0]
by_hand = jnp.mean(jax.vmap(lambda x: jnp.sum(jax.grad(of_one)(x) ** 2))(real))
by_library = gan.r1_penalty(critic, jax.random.key(0), real, real)
print(float(by_hand), float(by_library))
np.testing.assert_allclose(by_hand, by_library, rtol=1e-5)

# %% [markdown]
# A step of the game is one of $D$ and then one of $G$: `make_game_step`. A run is a scan of steps, and many runs are a `vmap` of it
# over keys. The weight of the penalty is a number in the loss, so `vmap` maps over that too: 2 weights × 16 seeds are one program.
#
# The optimizer is Adam, with two values of its decay $\beta_1$: the default 0.9, a momentum of about ten steps, and 0.5, which the
# recipes for GANs have had since Radford et al. 2016 (arXiv:1511.06434). Momentum in a game carries each player past the other.

# %%
NUM_SEEDS, NUM_STEPS, NUM_LOOKS, BATCH = 16, 2000, 5, 100


def train_gans(b1, weights):
    optimizers = Adversaries(adam(1e-3, b1=b1), adam(1e-3, b1=b1))

    def train(weight, key):
        losses = gan.adversarial_losses(model, gan.NON_SATURATING, gan.r1_penalty, weight)
        step = make_game_step(losses, optimizers)
        init_key, step_key, batch_key, z_key = jax.random.split(key, 4)
        z = gan.draw_latents(model.prior, z_key, 1000)

        def body(state, _):
            rows = jax.random.randint(jax.random.fold_in(batch_key, state.step), (BATCH,), 0, len(points))
            return step(state, Split(points[rows]))

        def look(state, _):  # some steps, then samples
            state, _ = jax.lax.scan(body, state, length=NUM_STEPS // NUM_LOOKS)
            return state, model.generate(state.params, state.state, key, z)[0]

        start = init_state(model.init(init_key, points[0]), optimizers, step_key)
        return jax.lax.scan(look, start, length=NUM_LOOKS)[1]

    keys = jax.random.split(jax.random.key(0), NUM_SEEDS)
    return np.asarray(jax.jit(jax.vmap(jax.vmap(train, (None, 0)), (0, None)))(weights, keys))


WEIGHTS = {"no penalty": 0.0, "R1": 0.1}  # γ/2
samples = {}
for b1 in (0.9, 0.5):
    drawn = train_gans(b1, jnp.array(list(WEIGHTS.values())))
    samples |= {f"{name}, β₁ = {b1}": of_weight for name, of_weight in zip(WEIGHTS, drawn, strict=True)}
print({name: drawn.shape for name, drawn in samples.items()})  # seeds, looks, samples, coordinates

# %% [markdown]
# `mode_coverage` counts modes as Lin et al. 2018 (PacGAN, arXiv:1712.04086) do: a mode is found if a sample is within $3\sigma$ of
# its centre. That asks for precision too: of a run that smears its samples around the whole ring, few count. So we also take the
# share of samples that are *nearest* to each mode, however far off, and its KL to the uniform distribution. $8\, e^{-\mathrm{KL}}$
# is an effective number of modes: 1 if all samples are at one, 8 if each has an equal share.

# %%
found = {
    name: [[mode_coverage(at_look, centres, SPREAD) for at_look in of_seed] for of_seed in drawn]
    for name, drawn in samples.items()
}


def table(of):
    return {name: np.array([[of(coverage) for coverage in of_seed] for of_seed in rows]) for name, rows in found.items()}


num_modes = table(lambda coverage: coverage.num_modes)
effective = table(lambda coverage: NUM_MODES * np.exp(-coverage.reverse_kl))
precise = table(lambda coverage: coverage.high_quality)
for name in samples:
    all_found = int((num_modes[name][:, -1] == NUM_MODES).sum())
    low, high = wilson_interval(all_found, NUM_SEEDS)
    print(f"{name}: {all_found} of {NUM_SEEDS} seeds found all modes (95 % interval of the share {low:.2f} to {high:.2f})")
    print("    modes found:     ", *(f"{m:4d}" for m in np.sort(num_modes[name][:, -1])))
    print("    effective number:", *(f"{m:4.1f}" for m in np.sort(effective[name][:, -1])))
    print(f"    share of samples within 3σ: {precise[name][:, -1].mean():.2f}, of the data 0.99")

# %%
steps = NUM_STEPS // NUM_LOOKS * (1 + np.arange(NUM_LOOKS))
figure, axes = plt.subplots(1, 4, sharey=True, figsize=(11, 2.8))
for ax, name in zip(axes, samples, strict=True):
    ax.plot(steps, effective[name].T, color="C0", alpha=0.4)
    ax.plot(steps, np.median(effective[name], axis=0), "k", label="median")
    ax.set(xlabel="step", ylim=(0, 8.4))
    ax.set_title(name, fontsize=10)
axes[0].set_ylabel("effective number of modes")
axes[0].legend()
figure.tight_layout()

# %% [markdown]
# Each thin line is a seed. Below, of each setting, the samples of four seeds after the last step: those with the fewest modes, by
# the effective number, and the one with the most. Crosses are the centres of the modes.

# %%
figure, axes = plt.subplots(4, 4, figsize=(7, 7.6))
for row, (name, drawn) in zip(axes, samples.items(), strict=True):
    seeds = np.argsort(effective[name][:, -1])[[0, 1, 2, -1]]
    for ax, seed in zip(row, seeds, strict=True):
        ax.plot(*drawn[seed, -1].T, ".", markersize=2, alpha=0.5)
        ax.plot(*centres.T, "k+", markersize=7)
        ax.set(xlim=(-1.6, 1.6), ylim=(-1.6, 1.6), xticks=[], yticks=[], aspect="equal")
        ax.set_title(f"seed {seed}: {effective[name][seed, -1]:.1f}", fontsize=9)
    row[0].set_ylabel(name)
figure.tight_layout()

# %%
last = {name: rows[:, -1] for name, rows in effective.items()}
assert np.median(last["no penalty, β₁ = 0.9"]) < np.median(last["R1, β₁ = 0.9"])  # single seeds differ by machine

# %% [markdown]
# What this shows, and what not:
#
# - With much momentum and no penalty, the seeds fall into two groups: some share their samples among all eight modes, most of
#   the others put nearly all of them at one to three. These are collapsed. Of one seed you would have seen either, and drawn the
#   wrong conclusion.
# - With R1 no seed is collapsed. But its samples lie between the modes too, and are not more precise than without: the share
#   within $3\sigma$ is small. R1 makes the mass spread; to sharpen it takes more steps, or a smaller weight.
# - With $\beta_1 = 0.5$ every seed finds every mode, with R1 and without, and the samples are much more precise. On this ring the
#   momentum was the trouble, and the penalty one of two cures.
# - A ring of eight is easy. On the grid of twenty-five Gaussians in [the site's table](../docs/families/gan.md#modes), at $\beta_1 = 0.5$,
#   only R1 finds all.
#
# The library trains many seeds of any of its recipes the same way: `gen-jax sweep gan-ring --num-seeds 16`, or
# `gen_jax.sweep.train_many`.
#
# ## Exercises
#
# **1.** Suppose three quarters of the examples that $D$ sees are real. Derive the best logit, and check that the derivative of the
# loss in it is zero at each $x$ of the two Gaussians of the first section.
#
# <details><summary>Solution</summary>
#
# The integrand is $\tfrac34 p \log D + \tfrac14 q \log(1 - D)$, so $a = \tfrac34 p$, $b = \tfrac14 q$, and the logit is
# $\log a - \log b = \log p - \log q + \log 3$. Only a constant is added.
#
# ```python
# loss = lambda l: jnp.sum(0.75 * p * softplus(-l) + 0.25 * q * softplus(l))
# print(jnp.abs(jax.grad(loss)(best_logit + jnp.log(3.0))).max(), jnp.abs(jax.grad(loss)(best_logit)).max())
# ```
# </details>
#
# **2.** Use $\mathrm{WASSERSTEIN}$ in place of $\mathrm{MINIMAX}$ in the Dirac-GAN: the loss of $D$ on generated examples is $l$
# itself, so that $\sigma(0) = \tfrac12$ becomes 1. Which γ is best for simultaneous steps with $h = 0.2$, and why is it another one?
#
# <details><summary>Solution</summary>
#
# ```python
# moduli = [np.abs(gan.dirac_gan_eigenvalues(gan.WASSERSTEIN, 0.2, gamma)).max() for gamma in gammas]
# print(gammas[np.argmin(moduli)], min(moduli))
# ```
#
# With $c$ in place of ½ the root is $\sqrt{\gamma^2/4 - c^2}$, which is zero at $\gamma = 2c$: 2, where it was 1. The game turns
# twice as fast, and takes twice the friction.
# </details>
#
# **3.** Near $\theta = 0$, what share of $\mathrm{KL}(q \,\|\, p)$ is $\mathrm{KL}(q \,\|\, p) - 2\, \mathrm{JSD}(p, q)$? And far away?
#
# <details><summary>Solution</summary>
#
# ```python
# for shift in (0.1, 0.5, 2.0, 8.0):
#     kl = shift**2 / 2
#     print(shift, (kl - 2 * gan.jensen_shannon(*densities(shift), cell)) / kl)
# ```
#
# One half near 0: to second order both KLs to the mixture are a quarter of $\mathrm{KL}(q \,\|\, p)$, so that
# $2\, \mathrm{JSD}$ is half of it. Far away nearly all of it, because JSD stays below $\log 2$ and the KL grows as $\theta^2$.
# </details>
