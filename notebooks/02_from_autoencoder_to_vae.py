# %% [markdown]
# # 2 · From the autoencoder to the VAE
#
# A variational autoencoder (Kingma & Welling 2014, arXiv:1312.6114; Rezende et al. 2014, arXiv:1401.4082) is trained by a lower
# bound on $\log p(x)$. This notebook derives the bound and checks it where everything is known; then it does the same for the two
# ways to differentiate it, and for the KL term, with the mistakes that are common there. At the end an autoencoder and a VAE learn
# digits, and are compared.
#
# 1. $\log p(x) = \mathrm{ELBO} + \mathrm{KL}(q \,\|\, p(z \mid x))$, to the digit;
# 2. the gradient by reparameterisation and by the score function, beside the exact one;
# 3. the KL in closed form, and what wrong versions of it give;
# 4. an autoencoder and a VAE on 4,000 digits.

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
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import gen_jax

plt.rcParams.update({"figure.figsize": (7, 3), "figure.dpi": 80, "axes.spines.top": False, "axes.spines.right": False})

# %% [markdown]
# ## A model of which everything is known
#
# A latent variable model draws $z \sim p(z)$, then $x \sim p(x \mid z)$. The density of $x$ alone is an integral,
#
# $$p(x) = \int p(x \mid z)\, p(z)\, dz,$$
#
# and for a neural network nobody can compute it. For a linear one it is a Gaussian. Let $z \in \mathbb{R}^2$, $x \in \mathbb{R}^5$:
#
# $$z \sim N(0, I), \qquad x = W z + b + \sigma \varepsilon, \qquad p(x) = N(b,\; W W^\top + \sigma^2 I).$$
#
# The posterior is Gaussian too (Bishop 2006, *Pattern Recognition and Machine Learning*, §2.3.3):
#
# $$p(z \mid x) = N(m, S), \qquad S = (I + W^\top W / \sigma^2)^{-1}, \qquad m = S\, W^\top (x - b) / \sigma^2.$$

# %%
from gen_jax.distributions import MultivariateNormal, Normal, kl_divergence

W = jax.random.normal(jax.random.key(1), (5, 2))
b = jax.random.normal(jax.random.key(2), (5,))
sigma = 1.0

prior = Normal(jnp.zeros(2), jnp.ones(2))
likelihood = lambda z: Normal(W @ z + b, jnp.full(5, sigma))
marginal = MultivariateNormal(b, jnp.linalg.cholesky(W @ W.T + sigma**2 * jnp.eye(5)))

x = marginal.sample(jax.random.key(3))
S = jnp.linalg.inv(jnp.eye(2) + W.T @ W / sigma**2)
m = S @ W.T @ (x - b) / sigma**2
posterior = MultivariateNormal(m, jnp.linalg.cholesky(S))
log_p = marginal.log_prob(x)
print("log p(x) =", float(log_p), "  posterior mean", m, "standard deviations", jnp.sqrt(jnp.diag(S)))

# %% [markdown]
# Bayes' rule says $p(z \mid x) = p(x \mid z)\, p(z) / p(x)$ at *every* $z$. So $\log p(x \mid z) + \log p(z) - \log p(z \mid x)$
# does not depend on $z$, and is $\log p(x)$:

# %%
log_joint = lambda z: likelihood(z).log_prob(x) + prior.log_prob(z)
some_z = 2 * jax.random.normal(jax.random.key(4), (4, 2))
print(jax.vmap(lambda z: log_joint(z) - posterior.log_prob(z))(some_z))
np.testing.assert_allclose(jax.vmap(lambda z: log_joint(z) - posterior.log_prob(z))(some_z), log_p, rtol=1e-5)

# %% [markdown]
# ## The bound
#
# Take that identity, and average it over *any* density $q(z)$. The left side has no $z$ in it. On the right, add and subtract
# $\log q(z)$:
#
# $$\log p(x) = \mathbb{E}_q\big[\log p(x, z) - \log p(z \mid x)\big]
#   = \underbrace{\mathbb{E}_q\big[\log p(x, z) - \log q(z)\big]}_{\text{ELBO}}
#   + \underbrace{\mathbb{E}_q\big[\log q(z) - \log p(z \mid x)\big]}_{\mathrm{KL}(q \,\|\, p(z \mid x)) \;\ge\; 0}.$$
#
# The first term can be computed without the posterior. The second is never negative, so the first is a lower bound: the *evidence
# lower bound*. It says nothing about which $q$ to take; the better $q$ fits the posterior, the tighter it is. Written with
# $p(x, z) = p(x \mid z)\, p(z)$ it has the form in which VAEs are trained:
#
# $$\text{ELBO} = \mathbb{E}_q[\log p(x \mid z)] - \mathrm{KL}(q \,\|\, p(z)).$$
#
# The first part asks for a good reconstruction (minus it is the *distortion*), the second is the *rate*: the nats that $q$ says
# about $z$ beyond the prior.
#
# For our model and $q = N(\mu, \mathrm{diag}\, s^2)$ both are closed forms. The residual $x - Wz - b$ has the mean
# $x - W\mu - b$, and its spread adds $\sum_j s_j^2 \lVert w_j \rVert^2$ to its expected square, $w_j$ the columns of $W$:
#
# $$\mathbb{E}_q[\log p(x \mid z)] = \log p(x \mid \mu) - \frac{1}{2 \sigma^2} \sum_j s_j^2 \lVert w_j \rVert^2.$$


# %%
def elbo(mu, s):
    distortion = -likelihood(mu).log_prob(x) + jnp.sum(s**2 * jnp.sum(W**2, axis=0)) / (2 * sigma**2)
    rate = 0.5 * jnp.sum(mu**2 + s**2 - 1 - jnp.log(s**2))
    return -distortion - rate


def gap(mu, s):  # KL(q ‖ p(z|x)) of two multivariate Gaussians
    inverse, difference = jnp.linalg.inv(S), m - mu
    trace, square = jnp.trace(inverse @ jnp.diag(s**2)), difference @ inverse @ difference
    return 0.5 * (trace + square - 2 + jnp.linalg.slogdet(S)[1] - jnp.sum(jnp.log(s**2)))


candidates = {
    "the prior": (jnp.zeros(2), jnp.ones(2)),
    "the posterior's mean, but too wide": (m, jnp.full(2, 0.8)),
    "the right widths, but moved": (m + jnp.array([0.5, 0.0]), jnp.sqrt(jnp.diag(S))),
    "the best diagonal one": (m, 1 / jnp.sqrt(jnp.diag(jnp.linalg.inv(S)))),
}
for name, (mu, s) in candidates.items():
    print(f"{name:36s} ELBO {elbo(mu, s):8.4f} + KL {gap(mu, s):7.4f} = {elbo(mu, s) + gap(mu, s):8.4f}")
    np.testing.assert_allclose(elbo(mu, s) + gap(mu, s), log_p, rtol=1e-5)
    np.testing.assert_allclose(gap(mu, s), kl_divergence(Normal(mu, s), posterior), rtol=1e-4, atol=1e-5)  # the library's
print(f"{'':36s}                          log p(x) = {log_p:8.4f}")

# %% [markdown]
# The sums agree with $\log p(x)$ for every $q$. The last row shows where the name "bound" keeps its meaning: the best Gaussian with
# *independent* latents still leaves a gap, because the posterior's latents are correlated. More training does not close it; a
# richer $q$ does, such as one with a flow (`gen_jax.vae.with_flow`).


# %%
def ellipse(covariance, mean):
    turn = jnp.linspace(0, 2 * jnp.pi, 100)
    return mean[:, None] + jnp.linalg.cholesky(covariance) @ jnp.stack([jnp.cos(turn), jnp.sin(turn)])


figure, (left, right) = plt.subplots(1, 2, width_ratios=(2, 3), figsize=(9, 3.2))
left.plot(*ellipse(S, m), color="black", linewidth=2, label="p(z|x)")
for i, (mu, s) in enumerate(candidates.values()):
    left.plot(*ellipse(jnp.diag(s**2), mu), color=f"C{i}")
    right.barh(-i, gap(mu, s), left=elbo(mu, s), color=f"C{i}")
left.set(aspect="equal", xlabel="$z_1$", ylabel="$z_2$", title="one standard deviation")
left.legend()
right.axvline(log_p, color="black", linestyle="--")
right.set(
    yticks=[-i for i in range(4)], yticklabels=candidates, xlabel="nats", title="from the ELBO, KL(q ‖ p(z|x)) leads to log p(x)"
)
figure.tight_layout()

# %% [markdown]
# By the library, the same model is a `VAE`: four functions of one example, and `elbo_terms` gives the two terms at one draw of
# $z$. Its mean over draws is the closed form, within its standard error:

# %%
from gen_jax.types import VAE
from gen_jax.vae import elbo_terms

linear = VAE(
    init=lambda key, x, context=None: {"mu": jnp.zeros(2), "s": jnp.ones(2)},
    encode=lambda params, x, context=None: Normal(params["mu"], params["s"]),  # for our one x; an encoder would look at it
    decode=lambda params, z, context=None: likelihood(z),
    prior=lambda params, context=None: prior,
)
mu, s = m + 0.3, jnp.full(2, 0.5)
keys = jax.random.split(jax.random.key(5), 20_000)
terms = jax.vmap(lambda key: elbo_terms(linear, {"mu": mu, "s": s}, key, x))(keys)
mean, error = terms.elbo.mean(), terms.elbo.std() / len(keys) ** 0.5
print(f"ELBO by draws {mean:.4f} ± {error:.4f}, in closed form {elbo(mu, s):.4f}")
assert abs(mean - elbo(mu, s)) < 4 * error

# %% [markdown]
# ## Two gradients of an expectation
#
# To improve $q$ one needs $\nabla_\phi\, \mathbb{E}_{q_\phi}[h(z)]$, where $h = \log p(x, z) - \log q_\phi(z)$, and the density
# that is averaged over depends on $\phi$. There are two ways to draw an unbiased estimate.
#
# **Reparameterisation.** Write the draw as a function of $\phi$ and of noise that does not depend on it, $z = \mu + s \odot
# \varepsilon$ with $\varepsilon \sim N(0, I)$. The expectation is then over $\varepsilon$, and the gradient goes inside:
#
# $$\nabla_\phi\, \mathbb{E}_\varepsilon\big[h(\mu + s \odot \varepsilon)\big] = \mathbb{E}_\varepsilon\big[\nabla_\phi\, h(\mu + s \odot \varepsilon)\big].$$
#
# **Score function** (REINFORCE; Williams 1992). Differentiate the density and divide by it:
#
# $$\nabla_\phi \int q_\phi(z)\, h(z)\, dz = \mathbb{E}_q\big[h(z)\, \nabla_\phi \log q_\phi(z)\big],$$
#
# where the term from $\nabla_\phi h = -\nabla_\phi \log q_\phi$ has the mean 0 and is left out. It needs no derivative of $h$, and
# works for discrete $z$. We take $\phi = \mu_1$, of which `jax.grad` of the closed form gives the exact gradient.


# %%
def h(z, mu, s):
    return log_joint(z) - Normal(mu, s).log_prob(z)


def reparameterised(key, mu, s):
    noise = jax.random.normal(key, (2,))
    return jax.grad(lambda mu: h(mu + s * noise, mu, s))(mu)


def score_function(key, mu, s):
    z = mu + s * jax.random.normal(key, (2,))  # a draw, through which nothing is differentiated
    return h(z, mu, s) * jax.grad(lambda mu: Normal(mu, s).log_prob(z))(mu)


exact = jax.grad(elbo)(mu, s)[0]
draws = {f.__name__: jax.jit(jax.vmap(f, in_axes=(0, None, None)))(keys, mu, s)[:, 0] for f in (reparameterised, score_function)}
print(f"exact gradient {exact:8.4f}")
for name, values in draws.items():
    error = values.std() / len(values) ** 0.5
    print(f"{name:15s} mean {values.mean():8.4f} ± {error:.4f}, standard deviation of one draw {values.std():8.3f}")
    assert abs(values.mean() - exact) < 4 * error
ratio = draws["score_function"].var() / draws["reparameterised"].var()
print(f"ratio of their variances: {ratio:.0f}")

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3))
bins = np.linspace(*np.percentile(draws["score_function"], (1, 99)), 120)
for name, values in draws.items():
    left.hist(np.asarray(values), bins, density=True, alpha=0.6, label=name)
    sizes = 2 ** np.arange(13)
    errors = [np.sqrt(np.mean((values[: len(values) // n * n].reshape(-1, n).mean(axis=1) - exact) ** 2)) for n in sizes[:11]]
    right.loglog(sizes[:11], errors, marker=".", label=name)
left.axvline(exact, color="black", linestyle="--", label="exact")
left.set(xlabel="one-sample gradient in $\\mu_1$", yticks=[])
left.legend()
right.set(xlabel="draws averaged", ylabel="root mean squared error")
figure.tight_layout()

# %% [markdown]
# Both are unbiased, and both errors fall as $1/\sqrt{n}$. But the score function multiplies by the *value* of $h$, of which a large
# part is a constant that says nothing about the direction, where reparameterisation uses its *slope*. The constant grows with the
# size of $x$: a digit has 784 pixels, and its $\log p(x, z)$ is of the order of −100 nats. Here is what the extra variance costs,
# with the same steps and one draw each (means of 50 runs, and the range of the middle 80 %):


# %%
def ascend(estimate, key, num_steps=400, rate=0.003):
    def step(mu, key):
        return mu + rate * estimate(key, mu, s), elbo(mu, s)

    return jax.lax.scan(step, jnp.zeros(2), jax.random.split(key, num_steps))[1]


for i, estimate in enumerate((reparameterised, score_function)):
    runs = jax.jit(jax.vmap(lambda key, estimate=estimate: ascend(estimate, key)))(jax.random.split(jax.random.key(6), 50))
    plt.plot(runs.mean(axis=0), color=f"C{i}", label=estimate.__name__)
    plt.fill_between(range(400), *np.percentile(runs, (10, 90), axis=0), color=f"C{i}", alpha=0.3)
plt.axhline(elbo(m, s), color="black", linestyle="--", label="best $\\mu$ at these widths")
plt.ylim(elbo(m, s) - 5, elbo(m, s) + 0.5)
plt.xlabel("step")
plt.ylabel("ELBO (nats)")
plt.legend()
plt.tight_layout()

# %% [markdown]
# A constant subtracted from $h$ (a *baseline*) leaves the mean of the score-function gradient as it is and removes much of its
# variance; exercise 1 does it.
#
# ## The KL in closed form
#
# For $q = N(\mu, \sigma^2)$ and $p = N(0, 1)$ in one dimension,
#
# $$\mathrm{KL}(q \,\|\, p) = \mathbb{E}_q\Big[-\log \sigma - \frac{(z - \mu)^2}{2 \sigma^2} + \frac{z^2}{2}\Big]
#   = -\log \sigma - \frac12 + \frac{\mu^2 + \sigma^2}{2} = \tfrac12 \big(\mu^2 + \sigma^2 - 1 - \log \sigma^2\big),$$
#
# since $\mathbb{E}_q[(z - \mu)^2] = \sigma^2$ and $\mathbb{E}_q[z^2] = \mu^2 + \sigma^2$. Independent latents add up. Three
# computations of one number:

# %%
mu, std = jnp.array([1.0, -0.5, 0.2]), jnp.array([0.4, 1.2, 0.9])
q, standard = Normal(mu, std), Normal(jnp.zeros(3), jnp.ones(3))
by_hand = 0.5 * jnp.sum(mu**2 + std**2 - 1 - jnp.log(std**2))
by_library = kl_divergence(q, standard)
log_ratios = jax.vmap(lambda z: q.log_prob(z) - standard.log_prob(z))(jax.vmap(q.sample)(keys))
error = log_ratios.std() / len(keys) ** 0.5
print(f"by hand {by_hand:.4f}, by the library {by_library:.4f}, by draws {log_ratios.mean():.4f} ± {error:.4f}")
np.testing.assert_allclose(by_hand, by_library, rtol=1e-5)
assert abs(log_ratios.mean() - by_hand) < 4 * error

# %% [markdown]
# The formula is short and easy to get wrong. An encoder puts out $\log \sigma^2$ in one program, $\log \sigma$ or $\sigma$ in
# another, and a formula copied between them still runs. Here are the usual mistakes, at the same $q$:

# %%
mistakes = {
    "right": lambda mu, std: 0.5 * (mu**2 + std**2 - 1 - jnp.log(std**2)),
    "sign of the logarithm": lambda mu, std: 0.5 * (mu**2 + std**2 - 1 + jnp.log(std**2)),
    "σ where σ² belongs": lambda mu, std: 0.5 * (mu**2 + std - 1 - jnp.log(std)),
    "1/σ² where σ² belongs": lambda mu, std: 0.5 * (mu**2 + 1 / std**2 - 1 - jnp.log(1 / std**2)),
}
for name, formula in mistakes.items():
    away = abs(float(formula(mu, std).sum() - log_ratios.mean())) / float(error)
    print(f"{name:24s} {formula(mu, std).sum():8.4f} nats, {away:7.1f} standard errors from the draws")
print(f"{'mean over latents':24s} {mistakes['right'](mu, std).mean():8.4f} nats")

# %% [markdown]
# A test against draws finds each of them: that is what it is for. A test at $q = p$ finds none, since all are 0 there. As functions
# of $\sigma$ at $\mu = 0$:

# %%
grid = jnp.linspace(0.05, 2.5, 200)
for (name, formula), style in zip(mistakes.items(), ("-", "--", "-.", ":"), strict=True):
    plt.plot(grid, formula(0.0, grid), style, label=name)
for scale in (0.2, 0.6, 1.0, 1.6, 2.2):
    q = Normal(jnp.zeros(1), jnp.full(1, scale))
    log_ratio = lambda z, q=q: q.log_prob(z) - Normal(jnp.zeros(1), jnp.ones(1)).log_prob(z)
    plt.plot(scale, jax.vmap(log_ratio)(jax.vmap(q.sample)(keys)).mean(), "o", color="black")
plt.plot([], [], "o", color="black", label="mean over draws")
plt.axhline(0, color="0.8")
plt.ylim(-2, 3)
plt.xlabel("σ")
plt.ylabel("nats")
plt.legend()
plt.tight_layout()

# %% [markdown]
# With the wrong sign, the term falls without bound as $\sigma \to 0$: training is rewarded for a posterior without noise, which is
# an autoencoder, and the "ELBO" that it reports is no bound. With $\sigma$ for $\sigma^2$ the minimum is in the right place and
# the curve is too flat: a narrow posterior costs about half of what it should. With $1 / \sigma^2$ narrow posteriors, which are
# what a VAE needs, cost far too much. None of the three raises an error, so nothing but a check tells.
#
# ## Means and sums
#
# The remaining mistake is in no formula: one of the terms is a sum and the other a mean. A loss of a batch is
#
# $$\frac1B \sum_{n} \Big(\sum_{i=1}^{D} d_{ni} + \sum_{j=1}^{Z} k_{nj}\Big),$$
#
# with $d_{ni}$ the nats of pixel $i$ and $k_{nj}$ those of latent $j$. Any other reduction weighs the terms against each other, so
# that it is a $\beta$-VAE, $\mathbb{E}[d] + \beta\, \mathrm{KL}$, with a $\beta$ that nobody chose. The gradient of the loss with
# respect to one $k_{nj}$ and one $d_{ni}$ tells which:

# %%
B, D, Z = 100, 784, 20
reductions = {
    "sums over D and Z, means over the batch": lambda d, k: d.sum(axis=1).mean() + k.sum(axis=1).mean(),
    "mean over pixels": lambda d, k: d.mean(axis=1).mean() + k.sum(axis=1).mean(),
    "mean over latents": lambda d, k: d.sum(axis=1).mean() + k.mean(axis=1).mean(),
    "both means": lambda d, k: d.mean() + k.mean(),
    "pixels summed over the batch, KL averaged": lambda d, k: d.sum() + k.sum(axis=1).mean(),
    "KL summed over the batch, pixels averaged": lambda d, k: d.sum(axis=1).mean() + k.sum(),
}
for name, loss in reductions.items():
    of_d, of_k = jax.grad(loss, argnums=(0, 1))(jnp.ones((B, D)), jnp.ones((B, Z)))
    print(f"{name:42s} β = {of_k[0, 0] / of_d[0, 0]:6.4g}")

# %% [markdown]
# What does $\beta$ do to $q$? Minimising $\mathbb{E}_q[-\log p(x \mid z)] + \beta\, \mathrm{KL}(q \,\|\, p(z))$ over all $q$
# gives $q(z) \propto p(z)\, p(x \mid z)^{1/\beta}$: the likelihood is raised to a power. For $x = z + \varepsilon$ with
# $\varepsilon \sim N(0, 1)$ that is a Gaussian with $s^2 = 1 / (1 + 1/\beta)$ and $\mu = s^2 x / \beta$. A minimiser must agree:


# %%
def loss_of_beta(parts, beta, x=1.5):
    mu, log_s = parts
    distortion = 0.5 * ((x - mu) ** 2 + jnp.exp(2 * log_s)) + 0.5 * jnp.log(2 * jnp.pi)
    return distortion + beta * 0.5 * (mu**2 + jnp.exp(2 * log_s) - 1 - 2 * log_s)


@jax.jit
def minimise(beta):
    descend = lambda parts, _: (parts - 0.5 / (1 + beta) * jax.grad(loss_of_beta)(parts, beta), None)
    mu, log_s = jax.lax.scan(descend, jnp.array([0.0, 0.0]), length=2000)[0]
    return mu, jnp.exp(log_s)


line = jnp.linspace(-3.5, 3.5, 400)
for beta in (1 / 100, 1 / 20, 1.0, 784.0):
    s = 1 / jnp.sqrt(1 + 1 / beta)
    np.testing.assert_allclose(minimise(beta), (s**2 * 1.5 / beta, s), rtol=1e-3, atol=1e-4)
    density = jnp.exp(-0.5 * ((line - s**2 * 1.5 / beta) / s) ** 2) / (s * jnp.sqrt(2 * jnp.pi))
    plt.plot(line, density, label=f"β = {beta:g}")
plt.plot(line, jnp.exp(-0.5 * line**2) / jnp.sqrt(2 * jnp.pi), color="black", linestyle="--", label="p(z)")
plt.xlabel("z")
plt.ylabel("q(z)")
plt.legend()
plt.tight_layout()

# %% [markdown]
# A mean over pixels ($\beta = 784$) gives back the prior: the latents carry nothing, and every reconstruction is the mean image.
# A small $\beta$ gives a spike near the maximum of the likelihood, and the KL no longer keeps the codes where $p(z)$ draws. The
# limit $\beta \to 0$ is an autoencoder, to which we turn.
#
# ## An autoencoder on digits
#
# An autoencoder has an encoder $f$ and a decoder $g$ and minimises $\lVert x - g(f(x)) \rVert^2$. There is no distribution: a code
# is a point, and nothing says where codes lie. Two latent dimensions are too few for good images, but they can be drawn. The digits
# are 4,000 of MNIST, cut at ½ to black and white.

# %%
from gen_jax import plots, tasks
from gen_jax.autoencoders import autoencoder, autoencoder_loss
from gen_jax.data import load_dataset
from gen_jax.nets import MLP

data = load_dataset("mnist-5k", binarise="threshold")
options = {"epochs": 30, "learning_rate": 3e-3, "validate_every": 5}
plain = autoencoder(MLP((128,), (2,)), MLP((128,), (28, 28, 1)))
plain_fit = gen_jax.fit(jax.random.key(0), plain, autoencoder_loss(plain), data, **options)
print("squared error of a validation image:", plain_fit.history[-1]["valid_squared_error"])

# %% [markdown]
# ## A VAE on the same digits
#
# Three changes make it a VAE. The encoder returns $\mu(x)$ and $\log \sigma^2(x)$ in place of a point; the code is a draw
# $z = \mu + \sigma \odot \varepsilon$; and the decoder's output are logits of $p(x \mid z)$, so that the loss is minus the ELBO:

# %%
from gen_jax.vae import bernoulli_likelihood, elbo_loss, gaussian_vae

encoder, decoder = MLP((128,), (2, 2)), MLP((128,), (28, 28, 1))


def negative_elbo(params, key, x):
    mu, log_variance = encoder.apply(params["encoder"], x)
    z = mu + jnp.exp(0.5 * log_variance) * jax.random.normal(key, mu.shape)
    logits = decoder.apply(params["decoder"], z)
    distortion = -jnp.sum(x * jax.nn.log_sigmoid(logits) + (1 - x) * jax.nn.log_sigmoid(-logits))
    rate = 0.5 * jnp.sum(mu**2 + jnp.exp(log_variance) - 1 - log_variance)
    return distortion + rate


# %% [markdown]
# That is all of it. The library's model has the same parts. With the same parameters and the same key, it returns the same number:

# %%
vae = gaussian_vae(encoder, decoder, latent_dim=2, likelihood=bernoulli_likelihood())
digit = data.view.example(data.train.x[0] >= 128).astype(jnp.float32)
params = vae.init(jax.random.key(1), digit)
ours, theirs = negative_elbo(params, jax.random.key(2), digit), -elbo_terms(vae, params, jax.random.key(2), digit).elbo
print(ours, theirs)
np.testing.assert_allclose(ours, theirs, rtol=1e-5)

# %%
vae_fit = gen_jax.fit(jax.random.key(0), vae, elbo_loss(vae), data, **options)
last = vae_fit.history[-1]
print({name: round(last[name], 2) for name in ("valid_elbo", "valid_rate", "valid_distortion")})

# %%
plots.loss_curves(vae_fit.history, ("train_elbo", "valid_elbo"))

# %% [markdown]
# The two curves part, since the training images are few; `fit` returns the parameters of the best validation. Now the test images. A VAE has a likelihood, and `evaluate` estimates it (notebook 3 says how); an autoencoder has a
# squared error. Both have reconstructions:

# %%
test = data.test._replace(x=data.test.x[:200], labels=data.test.labels[:200])
key = jax.random.key(3)
table = tasks.evaluate(vae, vae_fit.params, key, test, num_importance_samples=20)
print({name: round(table.summary[name], 2) for name in ("elbo", "rate", "distortion", "nll")})
rebuilt = {
    "autoencoder": tasks.reconstruct(plain, plain_fit.params, key, test),
    "VAE": tasks.reconstruct(vae, vae_fit.params, key, test),
}
originals = jax.vmap(data.view.example)(test.x)
for name, images in rebuilt.items():
    print(f"{name}: squared error {jnp.sum((images - originals) ** 2, axis=(1, 2, 3)).mean():.1f}")

# %%
rows = np.concatenate([originals[:12], *(images[:12] for images in rebuilt.values())])
plots.image_grid(rows, 12, row_names=("test image", "autoencoder", "VAE"))

# %% [markdown]
# With two latents both blur, and their errors are about the same, although the VAE decodes a draw of $q(z \mid x)$ and pays for its
# rate. Reconstruction is not where they differ. Let us look at the codes, beside draws of the prior, which the VAE has and the
# autoencoder has not:

# %%
codes = jax.vmap(lambda x: plain.encode(plain_fit.params, x))(originals)
means = jax.vmap(lambda x: vae.encode(vae_fit.params, x).loc)(originals)
drawn = jax.random.normal(jax.random.key(4), (200, 2))
figure, axes = plt.subplots(1, 2, figsize=(9, 4))
for axis, points, name in zip(axes, (codes, means), ("codes f(x) of the autoencoder", "means of q(z|x) of the VAE"), strict=True):
    shown = axis.scatter(*points.T, c=test.labels, cmap="tab10", vmin=-0.5, vmax=9.5, s=12)
    axis.scatter(*drawn.T, color="black", s=2, label="N(0, I)")
    axis.set(title=name, xlabel="$z_1$", ylabel="$z_2$", aspect="equal")
    axis.legend()
figure.colorbar(shown, ax=axes, label="digit", ticks=range(10))
print("standard deviations of the codes:", jnp.std(codes, axis=0), " of the means:", jnp.std(means, axis=0))

# %% [markdown]
# The autoencoder puts its codes where it likes, and most of $N(0, I)$ lies outside of them. Those of the VAE lie about where the
# prior does, because the rate makes it so; not exactly, as the tails of some digits show. Hence a VAE can be sampled: draw $z \sim p(z)$ and decode. The autoencoder has nothing to
# draw from, and the library says so:

# %%
try:
    tasks.sample(plain, plain_fit.params, key, 12)
except tasks.CannotError as error:
    print(error)
samples = tasks.sample(vae, vae_fit.params, key, 12)
spread = codes.mean(axis=0) + codes.std(axis=0) * drawn[:12]
guessed = jax.vmap(lambda z: plain.decode(plain_fit.params, z))(spread)
decoded = jax.vmap(lambda z: plain.decode(plain_fit.params, z))(drawn[:12])
names = ("VAE, z ~ p(z)", "autoencoder, N(0, I)", "autoencoder, codes' mean and spread")
plots.image_grid(np.concatenate([samples, decoded, guessed]), 12, row_names=names)

# %% [markdown]
# Row 1 shows means $\mathbb{E}[x \mid z]$ at draws of the prior. Rows 2 and 3 decode points that the autoencoder was never trained
# to decode. Those of $N(0, I)$ are mostly far from any code, where the decoder extrapolates: strokes are too strong, and edges
# ragged. A normal with the codes' mean and spread stays among them, and many of its images are as good as the VAE's: here the codes
# form one cloud. Nothing in the loss asks for that, and the fit is an extra step, of another model than the one that was trained.
#
# ## The latent plane
#
# Two latents can be seen whole. Equal steps of prior probability, $z = \Phi^{-1}(u)$ for $u$ on a grid, show each part of the plane
# as often as the model draws it:

# %%
from jax.scipy.special import ndtri

steps = ndtri((jnp.arange(12) + 0.5) / 12)
plane = jnp.stack(jnp.meshgrid(steps, steps[::-1]), axis=-1).reshape(-1, 2)
plots.image_grid(jax.vmap(lambda z: vae.decode(vae_fit.params, z).mean)(plane), 12)

# %% [markdown]
# ## Exercises
#
# **1.** In `score_function`, subtract the mean of $h$ over other draws from $h$ before multiplying. Why is the mean of the estimate
# the same, and what becomes of its standard deviation at $\mu = m + 0.3$, $s = 0.5$?
#
# <details><summary>Solution</summary>
#
# ```python
# mu, s = m + 0.3, jnp.full(2, 0.5)
# others = jax.vmap(lambda key: h(mu + s * jax.random.normal(key, (2,)), mu, s))(jax.random.split(jax.random.key(8), 1000))
#
# def with_baseline(key, mu, s, baseline=others.mean()):
#     z = mu + s * jax.random.normal(key, (2,))
#     return (h(z, mu, s) - baseline) * jax.grad(lambda mu: Normal(mu, s).log_prob(z))(mu)
#
# values = jax.vmap(with_baseline, in_axes=(0, None, None))(keys, mu, s)[:, 0]
# print(values.mean(), values.std(), draws["score_function"].std(), draws["reparameterised"].std())
# ```
#
# The score has the mean $\int \nabla_\phi q_\phi\, dz = \nabla_\phi 1 = 0$, so a constant times it adds nothing to the mean. The
# standard deviation falls by a large factor, since $h$ is mostly constant; reparameterisation remains below it.
# </details>
#
# **2.** Write the KL of two Gaussians with diagonal covariances, neither of them standard, by hand, and compare it with
# `kl_divergence`. Is it symmetric?
#
# <details><summary>Solution</summary>
#
# ```python
# def kl(q, p):
#     ratio = q.scale / p.scale
#     return 0.5 * jnp.sum(ratio**2 + ((q.loc - p.loc) / p.scale) ** 2 - 1 - 2 * jnp.log(ratio))
#
# one = Normal(jnp.array([0.5, -1.0]), jnp.array([0.3, 2.0]))
# two = Normal(jnp.array([0.0, 1.0]), jnp.array([1.0, 0.5]))
# print(kl(one, two), kl_divergence(one, two), kl(two, one), kl_divergence(two, one))
# ```
#
# It is not symmetric: KL(q‖p) is large where q has mass and p has little.
# </details>
#
# **3.** Train the VAE with the hidden $\beta$ of a mean over pixels, and look at its rate and at its reconstructions.
#
# <details><summary>Solution</summary>
#
# ```python
# from gen_jax.vae import negative_elbo as weighted
#
# hidden = elbo_loss(vae, lambda terms, step: weighted(terms, beta=784.0))
# collapsed = gen_jax.fit(jax.random.key(0), vae, hidden, data, epochs=5, learning_rate=3e-3)
# print(collapsed.history[-1]["valid_rate"])
# plots.image_grid(tasks.reconstruct(vae, collapsed.params, key, test)[:12], 12)
# ```
#
# The rate is nearly 0 nats, and every reconstruction is the same grey mean of all digits.
# </details>
