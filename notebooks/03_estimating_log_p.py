# %% [markdown]
# # 3 · Estimating log p(x)
#
# A VAE is trained by a bound, but models are compared by $\log p(x) = \log \int p(x \mid z)\, p(z)\, dz$. This notebook estimates it
# in four ways, on a model whose $\log p(x)$ is known, so that each error can be seen; then on a small VAE of digits, where it is not.
#
# 1. samples of the prior, and why they fail;
# 2. importance weights: a bound that grows with the number of samples, and the effective sample size that says when to trust it;
# 3. annealed importance sampling;
# 4. the same path backwards, which gives an upper bound.

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
# ## A VAE whose log p(x) is known
#
# With $z \sim N(0, I)$ in ten dimensions and $x = W z + b + \sigma \varepsilon$ in twenty, everything is Gaussian:
#
# $$p(x) = N(b,\, W W^\top + \sigma^2 I), \qquad p(z \mid x) = N(m, S), \quad S = (I + W^\top W / \sigma^2)^{-1}, \quad
# m = S W^\top (x - b) / \sigma^2.$$
#
# As $q(z \mid x)$ we take the exact posterior with two flaws that can be set: its mean is moved by `shift` of its standard
# deviations in every direction, and its width is multiplied by `widen`. With $S = L L^\top$:
#
# $$q(z \mid x) = N(m + L\, \mathrm{shift},\; \mathrm{widen}^2\, L L^\top).$$

# %%
from gen_jax.distributions import MultivariateNormal, Normal, kl_divergence
from gen_jax.types import VAE

Z, D, sigma = 10, 20, 0.5
W = jax.random.normal(jax.random.key(1), (D, Z))
b = jax.random.normal(jax.random.key(2), (D,))
S = jnp.linalg.inv(jnp.eye(Z) + W.T @ W / sigma**2)
L = jnp.linalg.cholesky(S)
posterior = lambda x: MultivariateNormal(S @ W.T @ (x - b) / sigma**2, L)

vae = VAE(
    init=lambda key, x, context=None: {"shift": jnp.zeros(()), "widen": jnp.ones(())},
    encode=lambda params, x, context=None: MultivariateNormal(
        posterior(x).loc + L @ jnp.full(Z, params["shift"]), params["widen"] * L
    ),
    decode=lambda params, z, context=None: Normal(W @ z + b, jnp.full(D, sigma)),
    prior=lambda params, context=None: Normal(jnp.zeros(Z), jnp.ones(Z)),
)
marginal = MultivariateNormal(b, jnp.linalg.cholesky(W @ W.T + sigma**2 * jnp.eye(D)))

exact = {"shift": 0.0, "widen": 1.0}
prior = vae.prior(exact)
log_likelihood = lambda z, x: vae.decode(exact, z).log_prob(x)

# %% [markdown]
# Forty examples are drawn from the model, each with its $z$ (the last section needs it). With the exact posterior, $\log p(x, z) -
# \log q(z \mid x)$ is $\log p(x)$ at any $z$, which checks all the formulas at once:

# %%
from gen_jax.vae import log_weight

zs = jax.vmap(prior.sample)(jax.random.split(jax.random.key(3), 40))
xs = jax.vmap(lambda key, z: vae.decode(exact, z).sample(key))(jax.random.split(jax.random.key(4), 40), zs)
log_p = jax.vmap(marginal.log_prob)(xs)
weights = jax.vmap(lambda x: log_weight(vae, exact, jax.random.key(5), x))(xs)
np.testing.assert_allclose(weights, log_p, atol=2e-2)
print("log p(x) of the first four:", log_p[:4], " by one weight each:", weights[:4])

# %% [markdown]
# ## Samples of the prior
#
# $p(x) = \mathbb{E}_{p(z)}[p(x \mid z)]$ is an expectation, so average:
#
# $$\hat p(x) = \frac1K \sum_{k=1}^K p(x \mid z_k), \qquad z_k \sim p(z).$$
#
# This is unbiased for every $K$. We need its logarithm, by `logsumexp`, since $p(x \mid z)$ underflows. The same for a smaller model
# of one or two latents, beside ours of ten: $W$ with fewer columns.


# %%
def by_prior(key, x, W, num_samples):
    z = jax.random.normal(key, (num_samples, W.shape[1]))
    return -0.5 * jnp.sum(((x - b - z @ W.T) / sigma) ** 2, axis=1) - D * (jnp.log(sigma) + 0.5 * jnp.log(2 * jnp.pi))


def running(log_w):  # log (1/K) Σ_{k ≤ K} w_k, for K = 1, 2, 4, … of one set of weights
    sums = np.logaddexp.accumulate(np.asarray(log_w, np.float64), axis=-1)
    sizes = 2 ** np.arange(int(np.log2(sums.shape[-1])) + 1)
    return sizes, sums[..., sizes - 1] - np.log(sizes)


for num_latents in (1, 2, 4, 10):
    part = W[:, :num_latents]
    model = MultivariateNormal(b, jnp.linalg.cholesky(part @ part.T + sigma**2 * jnp.eye(D)))
    found = jax.vmap(model.sample)(jax.random.split(jax.random.key(6), 40))
    keys = jax.random.split(jax.random.key(7), 40)
    log_w = jax.lax.map(lambda row, part=part: by_prior(*row, part, 2**14), (keys, found))
    sizes, values = running(log_w)
    errors = values - np.asarray(jax.vmap(model.log_prob)(found), np.float64)[:, None]
    plt.loglog(sizes, -errors.mean(axis=0), marker=".", label=f"latents: {num_latents}")
    print(f"{num_latents:2d} latents, K = {sizes[-1]}: estimate − log p(x) = {errors[:, -1].mean():10.2f} nats on average")
plt.ylim(bottom=1e-3)
plt.xlabel("samples of the prior K")
plt.ylabel("log p(x) − estimate, mean (nats)")
plt.legend()
plt.tight_layout()

# %% [markdown]
# With one or two latents it converges. With ten it is wrong by many nats at $K = 16{,}384$, and the slope says how slowly more
# helps. Nothing contradicts that $\hat p$ is unbiased: its mean is carried by events so rare that no run contains one.
#
# How many samples does it take? About $e^{\mathrm{KL}(p(z|x) \,\|\, p(z))}$ of them (Chatterjee & Diaconis 2018, arXiv:1511.01437):
# the prior has to hit the small region where the posterior lives. The KL is known here:

# %%
kls = jax.vmap(lambda x: kl_divergence(posterior(x), MultivariateNormal(jnp.zeros(Z), jnp.eye(Z))))(xs)
print(f"KL(p(z|x) ‖ p(z)): mean {kls.mean():.1f} nats; e to that power: {jnp.exp(kls.mean()):.1e} samples")

# %% [markdown]
# ## Importance weights
#
# Draw where the integrand is large, and correct for it:
#
# $$p(x) = \mathbb{E}_{q(z|x)}\left[\frac{p(x, z)}{q(z \mid x)}\right], \qquad
# \hat L_K = \log \frac1K \sum_{k=1}^K w_k, \quad w_k = \frac{p(x, z_k)}{q(z_k \mid x)}, \quad z_k \sim q(z \mid x).$$
#
# By hand that is a `logsumexp`. The library's `importance_weighted` adds chunk after chunk, so that memory does not grow with $K$;
# it draws sample $k$ with `fold_in(key, k)`, and the two agree:

# %%
from gen_jax.evaluate import importance_weighted

params = {"shift": 0.4, "widen": 1.15}
x, key = xs[0], jax.random.key(8)


def log_weights(params, key, x, num_samples):
    keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, jnp.arange(num_samples))
    return jax.vmap(lambda key: log_weight(vae, params, key, x))(keys)


log_w = log_weights(params, key, x, 1000)
by_hand = jax.nn.logsumexp(log_w) - jnp.log(1000)
estimate = importance_weighted(lambda key: log_weight(vae, params, key, x), key, num_samples=1000)
np.testing.assert_allclose(by_hand, estimate.log_prob, rtol=1e-5)
print(f"by hand {by_hand:.3f}, by the library {estimate.log_prob:.3f} ± {estimate.standard_error:.3f}, log p(x) {log_p[0]:.3f}")

# %% [markdown]
# ## The bound grows with K
#
# $\log$ is concave, so $\mathbb{E}[\hat L_K] \le \log \mathbb{E}[\frac1K \sum w_k] = \log p(x)$. For $K = 1$ it is the ELBO. And it
# grows with $K$ (Burda et al. 2016, arXiv:1509.00519): the mean of $K$ weights is the average, over subsets of $M < K$ of them, of
# the subset's mean, so by Jensen again $\mathbb{E}[\hat L_K] \ge \mathbb{E}[\hat L_M]$. Here over 2,000 repetitions, at three $q$:

# %%
many = jax.jit(jax.vmap(lambda params, key: log_weights(params, key, x, 256), in_axes=(None, 0)))
cases = {"as above": params, "too wide": {"shift": 0.0, "widen": 1.5}, "too narrow": {"shift": 0.0, "widen": 0.6}}
for name, case in cases.items():
    log_w = many(case, jax.random.split(jax.random.key(9), 2000))
    sizes, values = running(log_w)
    means = values.mean(axis=0)
    plt.semilogx(sizes, means, marker=".", label=name)
    gap = kl_divergence(vae.encode(case, x), posterior(x))
    print(f"{name:10s} log p − ELBO: by draws {log_p[0] - means[0]:.3f}, KL(q ‖ p(z|x)) = {gap:.3f}")
    assert abs(log_p[0] - means[0] - gap) < 5 * values[:, 0].std() / 2000**0.5 + 2e-2  # log p(x) is rounded in float32
    assert (np.diff(means) > 0).all()
plt.axhline(log_p[0], color="black", linestyle="--", label="log p(x)")
plt.xlabel("importance samples K")
plt.ylabel("mean of $\\hat L_K$ (nats)")
plt.legend()
plt.tight_layout()

# %% [markdown]
# ## When to trust it
#
# By the delta method, the standard error of $\hat L_K$ is $\mathrm{sd}(w) / (\sqrt K\, \mathrm{mean}(w))$, and the *effective sample
# size* $(\sum w)^2 / \sum w^2$ says how many equal weights would do as well: $K$ if all are equal, 1 if one of them is all of the
# sum. Both are estimated from the same weights, and see only what was drawn. Let us see what they are worth: 500 estimates with
# $K = 200$ for each $q$, and how often $\log p(x)$ is within two standard errors (of a normal estimate, 95 %):

# %%
estimates = jax.jit(jax.vmap(lambda p, key: importance_weighted(lambda k: log_weight(vae, p, k, x), key, 200), in_axes=(None, 0)))
for name, case in (cases | {"much too narrow": {"shift": 0.0, "widen": 0.4}}).items():
    found = estimates(case, jax.random.split(jax.random.key(10), 500))
    error = found.log_prob - log_p[0]
    covered = (jnp.abs(error) < 2 * found.standard_error).mean()
    print(
        f"{name:16s} error {error.mean():7.3f} (sd {error.std():5.3f}), its standard error {jnp.median(found.standard_error):.3f}, "
        f"effective {jnp.median(found.effective_sample_size):5.1f} of 200, within two: {100 * covered:3.0f} %"
    )

# %% [markdown]
# A wide $q$ wastes samples, but its weights are bounded, and its error bars are honest. A narrow $q$ looks better than it is: where
# it never draws, the weights would be enormous, and neither the standard error nor the effective sample size knows of them. A VAE's
# encoder is trained on $\mathrm{KL}(q \,\|\, p(z|x))$, which prefers narrow posteriors, so this is the usual case. An effective size
# of a few is a warning; a large one is no proof.
#
# ## Annealed importance sampling
#
# If no single $q$ is good, go there in steps (Neal 2001, arXiv:physics/9803008). Between the prior and the posterior lies a path
# of unnormalised densities
#
# $$f_\beta(z) = p(z)\, p(x \mid z)^\beta, \qquad \beta: 0 \to 1, \qquad \int f_0 = 1, \quad \int f_1 = p(x).$$
#
# Draw $z_0 \sim p(z)$. At each temperature take the ratio of the next density and this one, then move $z$ by a transition that leaves
# $f_{\beta_t}$ as it is:
#
# $$w = \prod_{t=1}^{T} \frac{f_{\beta_t}(z_{t-1})}{f_{\beta_{t-1}}(z_{t-1})} = \prod_t p(x \mid z_{t-1})^{\beta_t - \beta_{t-1}},
# \qquad \mathbb{E}[w] = p(x).$$
#
# Each ratio is of two similar densities, and has little variance. In this model $f_\beta$ is a Gaussian, which can be drawn
# exactly: the perfect transition. That is annealed importance sampling in a few lines:


# %%
def tempered(x, beta):  # f_β, normalised
    covariance = jnp.linalg.inv(jnp.eye(Z) + beta * W.T @ W / sigma**2)
    return MultivariateNormal(beta * covariance @ W.T @ (x - b) / sigma**2, jnp.linalg.cholesky(covariance))


def perfect_chain(key, x, betas):
    draw = lambda key, beta: log_likelihood(tempered(x, beta).sample(key), x)
    return jnp.sum(jnp.diff(betas) * jax.vmap(draw)(jax.random.split(key, len(betas) - 1), betas[:-1]))


from gen_jax.evaluate import temperatures

for num in (10, 300):
    chains = jax.jit(lambda keys, betas: jax.vmap(lambda key: perfect_chain(key, x, betas))(keys))
    log_w = chains(jax.random.split(jax.random.key(11), 50), temperatures(num))
    print(f"T = {num:3d}: mean of log w − log p(x) {log_w.mean() - log_p[0]:9.2f}, standard deviation {log_w.std():8.2f}")

# %% [markdown]
# More temperatures bring $\log w$ to $\log p(x)$ from below, and its spread falls. There is a picture of why. By $\partial_\beta \log
# \int f_\beta = \mathbb{E}_{f_\beta}[\log p(x \mid z)]$,
#
# $$\log p(x) = \int_0^1 \mathbb{E}_{f_\beta}\big[\log p(x \mid z)\big]\, d\beta,$$
#
# and the mean of $\log w$ is a sum of rectangles whose heights are taken at their *left* ends. The integrand rises with $\beta$ (its
# derivative is a variance), so the sum is too small. Here it is, in closed form, with sums of both kinds:


# %%
def mean_log_likelihood(x, beta):
    f = tempered(x, beta)
    return log_likelihood(f.loc, x) - jnp.sum((W @ f.scale_tril) ** 2) / (2 * sigma**2)


heights = jax.jit(jax.vmap(mean_log_likelihood, in_axes=(None, 0)))
for num in (10, 300):
    betas = temperatures(num)
    at = heights(x, betas)
    left, right = (float(jnp.sum(jnp.diff(betas) * ends)) for ends in (at[:-1], at[1:]))
    print(f"T = {num:3d}: left sum {left:10.2f} < log p(x) = {log_p[0]:.2f} < right sum {right:8.2f}")
    assert left < log_p[0] < right

fine = jnp.linspace(0.0, 1.0, 301) ** 3
betas = temperatures(10)
plt.plot(fine, heights(x, fine), color="black", label="$E_{f_\\beta}[\\log p(x|z)]$")
plt.bar(betas[:-1], heights(x, betas[:-1]), jnp.diff(betas), align="edge", alpha=0.4, label="left ends: lower bound")
plt.step(betas, heights(x, betas), where="pre", color="C1", label="right ends: upper bound")
plt.yscale("symlog", linthresh=10)
plt.xlabel("β")
plt.ylabel("nats")
plt.legend()
plt.tight_layout()

# %% [markdown]
# Most of the change is at small $\beta$: that is why `temperatures` places them on a sigmoid, dense at both ends, and not on a line.
#
# In general $f_\beta$ cannot be drawn, and the transition is Hamiltonian Monte Carlo: a few leapfrog steps along the gradient of
# $\log f_\beta$, and a Metropolis test. $\mathbb{E}[w] = p(x)$ holds for *any* transition that leaves $f_\beta$ invariant, however
# slowly it mixes; a slow one makes $\log w$ smaller. `annealed` does this for a model of your own: two log-densities and a sampler.

# %%
from gen_jax.evaluate import annealed


def lower(key, x, betas, num_chains=8):
    joint = lambda z: prior.log_prob(z) + log_likelihood(z, x)
    return annealed(prior.log_prob, joint, prior.sample, key, betas, num_chains=num_chains, num_leapfrog=10)


found = jax.jit(lambda key: lower(key, x, temperatures(1000), num_chains=32))(jax.random.key(12))
print(f"annealed {found.log_prob:.3f} ± {found.standard_error:.3f}, log p(x) {log_p[0]:.3f}")
print(f"effective chains {found.effective_sample_size:.1f} of 32, {100 * found.acceptance:.0f} % of the proposals accepted")
assert abs(found.log_prob - log_p[0]) < 4 * found.standard_error + 0.1

# %% [markdown]
# The encoder was not used at all: this estimate does not depend on how good $q$ is. But only a few of the 32 chains count, and
# a standard error from so few is rough itself: read both numbers, and take more chains or temperatures before you report it.
#
# ## From above
#
# Everything so far is, in expectation, a lower bound. A lower estimate may mean a worse model or a worse estimator, and one cannot
# tell. An upper bound would. Run the chain *backwards*, from an exact draw of the posterior down to the prior: then
#
# $$\mathbb{E}\left[\frac1w\right] = \frac{1}{p(x)}, \qquad\text{so}\qquad
# -\log \frac1C \sum_c \frac{1}{w_c} \;\text{ is in expectation an upper bound on } \log p(x)$$
#
# (Grosse et al. 2015, arXiv:1511.02543). The rectangles now have their heights at the right ends. An exact draw of the posterior is
# rarely to be had, but for an $x$ that the *model* drew it is free: the $z$ that $x$ was drawn with. (If $z \sim p(z)$ and $x \sim
# p(x \mid z)$, then given $x$ alone, $z$ is distributed as $p(z \mid x)$.) So on samples of the model $\log p(x)$ can be put between
# bounds, and the width of the gap says how good the estimator is for this model.


# %%
def upper(key, x, z, betas):
    joint = lambda z: prior.log_prob(z) + log_likelihood(z, x)
    return annealed(prior.log_prob, joint, prior.sample, key, betas, num_chains=8, num_leapfrog=10, backward_from=z)


@jax.jit
def both(keys, xs, zs, betas):
    return jax.vmap(lambda key, x, z: (lower(key, x, betas).log_prob, upper(key, x, z, betas).log_prob))(keys, xs, zs)


tried, below, above = (10, 40, 160), [], []
for num in tried:
    low, high = both(jax.random.split(jax.random.key(13), 20), xs[:20], zs[:20], temperatures(num))
    below.append(low - log_p[:20])
    above.append(high - log_p[:20])
    print(f"T = {num:3d}: lower − log p {below[-1].mean():8.3f}, upper − log p {above[-1].mean():8.3f}")
    assert below[-1].mean() < 0.05
    assert above[-1].mean() > -0.05

# %%
for values, name in ((below, "forward, from the prior"), (above, "backward, from the exact z")):
    values = np.stack(values)
    plt.errorbar(tried, values.mean(axis=1), values.std(axis=1) / 20**0.5, marker="o", capsize=3, label=name)
plt.axhline(0, color="black", linestyle="--", label="log p(x)")
plt.xscale("log")
plt.yscale("symlog", linthresh=1)
plt.xlabel("temperatures T")
plt.ylabel("estimate − log p(x) (nats)")
plt.legend()
plt.tight_layout()

# %% [markdown]
# Means of 20 examples, with standard errors. The two close on $\log p(x)$, which neither of them was told. At
# the largest $T$ here they are still some nats apart, and without `log_p` that is what we would know. Importance weights with a good
# $q$ are nearer at a fraction of the cost; with a poor one they are not, and do not say so.
#
# ## A trained VAE
#
# Now a model whose $\log p(x)$ nobody knows: 8 latents, 64 hidden units, 4,000 digits.

# %%
from gen_jax import tasks
from gen_jax.data import load_dataset
from gen_jax.nets import MLP
from gen_jax.vae import bernoulli_likelihood, elbo_loss, gaussian_vae

data = load_dataset("mnist-5k", binarise="threshold")
digits = gaussian_vae(MLP((64,), (2, 8)), MLP((64,), (28, 28, 1)), latent_dim=8, likelihood=bernoulli_likelihood())
fit = gen_jax.fit(jax.random.key(0), digits, elbo_loss(digits), data, epochs=20, learning_rate=3e-3, validate_every=5)
print("validation ELBO:", fit.history[-1]["valid_elbo"])

# %% [markdown]
# `tasks.bracket` draws examples from the model and puts their $\log p(x)$ between annealed bounds:

# %%
low, high = tasks.bracket(digits, fit.params, jax.random.key(1), 10, temperatures(100), num_chains=4)
gap = high.log_prob - low.log_prob
for name, side in {"lower": low, "upper": high}.items():
    print(f"{name} bound, mean of 10 samples of the model: {side.log_prob.mean():8.2f}")
print(f"between them: {gap.mean():.2f} ± {gap.std() / 10**0.5:.2f} nats")

# %% [markdown]
# For test digits there is no upper bound, but the estimator is the same. Four estimates for ten of them; each is in expectation a
# lower bound, so the largest mean is the best:

# %%
test = data.test._replace(x=data.test.x[:10], labels=data.test.labels[:10])
view = data.view


def weights_of(x, key):
    keys = jax.random.split(key, (2, 1024))
    from_prior = lambda key: digits.decode(fit.params, digits.prior(fit.params).sample(key)).log_prob(x)
    return jax.vmap(from_prior)(keys[0]), jax.vmap(lambda key: log_weight(digits, fit.params, key, x))(keys[1])


images = jax.vmap(view.example)(test.x)
by_prior_w, by_encoder_w = jax.jit(lambda xs: jax.lax.map(lambda row: weights_of(*row), (xs, jax.random.split(key, 10))))(images)
sizes, prior_curve = running(by_prior_w)
_, encoder_curve = running(by_encoder_w)
chains = {
    start: tasks.annealed_likelihood(digits, fit.params, key, test, temperatures(100), num_chains=4, start=start, view=view)
    for start in ("prior", "posterior")
}
print(f"samples of the prior, K = 1024:     {prior_curve[:, -1].mean():9.2f}")
print(f"ELBO:                               {encoder_curve[:, 0].mean():9.2f}")
print(f"importance weights, K = 1024:       {encoder_curve[:, -1].mean():9.2f}")
for start, found in chains.items():
    print(f"annealed from the {start + ':':18s}{found.log_prob.mean():9.2f}")

# %%
plt.semilogx(sizes, encoder_curve.mean(axis=0), marker=".", label="importance weights")
plt.semilogx(sizes, prior_curve.mean(axis=0), marker=".", label="samples of the prior")
for (start, found), style in zip(chains.items(), ("--", ":"), strict=True):
    plt.axhline(found.log_prob.mean(), color="black", linestyle=style, label=f"annealed from the {start}")
plt.ylim(prior_curve[:, -1].mean() - 60, encoder_curve[:, -1].mean() + 15)
plt.xlabel("samples K")
plt.ylabel("mean estimate of log p(x) (nats)")
plt.legend()
plt.tight_layout()

# %% [markdown]
# Samples of the prior are far below even at $K = 1024$. The chains are above the importance weights. Each is in expectation a lower
# bound, so the weights fall short by at least the difference, on average (of ten images here, without error bars). An encoder that is
# good enough to train with need not be good enough to measure with. On a larger model the site's table
# [log p(x) between bounds](../docs/families/vae.md#log-px-between-bounds) has the same order, and its seconds.
#
# What to report: the estimator, $K$ or $T$, and the standard error over examples. An ELBO, an importance-weighted bound and an
# annealed estimate are three different numbers of the same model: to compare one model's ELBO with another's annealed estimate is a
# mistake.
#
# ## Exercises
#
# **1.** How does the gap $\log p(x) - \mathbb{E}[\hat L_K]$ fall with $K$, for `params`? Compare it with $\mathrm{Var}(w) / (2 K
# p(x)^2)$, the second-order term of the logarithm.
#
# <details><summary>Solution</summary>
#
# ```python
# log_w = many(params, jax.random.split(jax.random.key(9), 2000))
# sizes, values = running(log_w)
# relative = np.exp(np.asarray(log_w, np.float64) - float(log_p[0]))
# print(log_p[0] - values.mean(axis=0))
# print(relative.var() / (2 * sizes))
# ```
#
# For large $K$ the two agree: the bias falls as $1/K$, at the relative variance of the weights. For small $K$ the expansion does not
# hold.
# </details>
#
# **2.** Replace `temperatures(num)` in the left and right sums by `temperatures(num, "linear")`. What becomes of the gap?
#
# <details><summary>Solution</summary>
#
# ```python
# for schedule in ("sigmoid", "linear"):
#     betas = temperatures(100, schedule)
#     at = heights(x, betas)
#     print(schedule, jnp.sum(jnp.diff(betas) * (at[1:] - at[:-1])))
# ```
#
# It grows several times: a line spends too few steps where the integrand is steepest, at small $\beta$.
# </details>
#
# **3.** Start the chains of `annealed` at a $q(z \mid x)$ with the flaws of `params` in place of the prior. How many temperatures
# are needed?
#
# <details><summary>Solution</summary>
#
# ```python
# q = vae.encode(params, x)
# joint = lambda z: prior.log_prob(z) + log_likelihood(z, x)
# for num in (3, 10, 30):
#     found = annealed(q.log_prob, joint, q.sample, jax.random.key(14), temperatures(num), num_chains=8, num_leapfrog=10)
#     print(num, found.log_prob - log_p[0], found.standard_error)
# ```
#
# Few: all three come within about two standard errors, where the prior needed hundreds. A path from near the posterior is short.
# </details>
