# %% [markdown]
# # 11 · Uses of a trained model
#
# A generative model is trained once, and then asked questions. This notebook trains two small ones on 4,000 digits, a VAE and a
# MADE, and asks four:
#
# 1. **density**: how probable is this image, and how sure are we of the number?
# 2. **completion**: what may the hidden half of an image be?
# 3. **novelty**: is this image of another kind than the training data?
# 4. **representation**: are the latents a better input to a classifier than the pixels?
#
# What the library does with a trained model is a task: a function of model, parameters, key and data, in `gen_jax.tasks`. What it
# measures on arrays is in `gen_jax.evaluate`. You need to have seen the ELBO (notebook 4 has its two terms).

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
from gen_jax import evaluate, plots, tasks
from gen_jax.data import Split, load_dataset
from gen_jax.densities import with_event_shape
from gen_jax.distributions import Normal
from gen_jax.made import bernoulli_output, ensemble, made, made_loss
from gen_jax.nets import MLP
from gen_jax.types import VAE
from gen_jax.vae import bernoulli_likelihood, complete_by_chain, elbo_loss, gaussian_vae, log_weight

plt.rcParams.update({"figure.figsize": (7, 3), "figure.dpi": 80, "axes.spines.top": False, "axes.spines.right": False})

# %% [markdown]
# ## Two models
#
# Pixels are binary: training draws them anew at each step from the grey values, and test images were drawn once. The VAE has 16
# latents. The MADE, one hidden layer of 200 and direct links, writes $p(x) = \prod_i p(x_i | x_{<i})$ in the order of the rows, from the top.

# %%
key = jax.random.key(0)
digits = load_dataset("mnist-5k")
vae = gaussian_vae(MLP((256,), (2, 16)), MLP((128,), (28, 28, 1)), 16, bernoulli_likelihood())
vae_fit = gen_jax.fit(key, vae, elbo_loss(vae), digits, epochs=25, learning_rate=2e-3)

masked = made(28 * 28, (200,), bernoulli_output(), direct=True)
density = with_event_shape(ensemble(masked, lambda index: masked.degrees), (28, 28, 1))  # one mask, the natural order
made_fit = gen_jax.fit(key, density, made_loss(masked), digits, epochs=12, learning_rate=4e-3)
print(f"validation: ELBO of the VAE {vae_fit.history[-1]['valid_elbo']:.1f}, ", end="")
print(f"log p(x) of the MADE {max(row['valid_log_prob'] for row in made_fit.history):.1f} nats")
for name, fit, metric in (("VAE: ELBO", vae_fit, "valid_elbo"), ("MADE: log p(x)", made_fit, "valid_log_prob")):
    plt.plot([row["epoch"] for row in fit.history], [row[metric] for row in fit.history], label=name)
plt.xlabel("epoch")
plt.ylabel("validation (nats)")
plt.legend()
plt.tight_layout()

# %%
drawn = [
    tasks.sample(vae, vae_fit.params, key, 10, draw="examples"),
    tasks.sample(density, made_fit.params, key, 10),
    digits.test.x[:10] / 255,
]
plots.image_grid(np.concatenate(drawn), 10, "draws of both models, and test images", ["VAE", "MADE", "data"])

# %% [markdown]
# The draws are rough, and few of them are digits: the models are small and have seen little. That does not matter for what follows, where
# each number is about these models as they are.
#
# ## 1. Density
#
# The MADE's log p(x) is exact: one pass. The VAE's is an integral over latents. **Importance weighting** (Burda et al. 2016,
# arXiv:1509.00519) turns it into a mean: with $z_k \sim q(z|x)$,
#
# $$w_k = \frac{p(x|z_k)\, p(z_k)}{q(z_k|x)}, \qquad \mathbb{E}[w_k] = p(x), \qquad
# \hat\ell_K = \log \frac1K \sum_k w_k .$$
#
# The mean of the weights is unbiased; its logarithm is not. By Jensen's inequality $\mathbb{E}[\hat\ell_K] \le \log p(x)$, which grows
# with $K$; $K = 1$ is the ELBO. The delta method gives a standard error, and the weights an effective sample size:
#
# $$\mathrm{se}(\hat\ell_K) \approx \frac{\mathrm{sd}(w)}{\sqrt K\, \bar w}, \qquad
# \mathrm{ESS} = \frac{(\sum w_k)^2}{\sum w_k^2} .$$
#
# In plain JAX, for one image:


# %%
@jax.jit
def log_weights(key, x):
    q = vae.encode(vae_fit.params, x)

    def one(key):
        z = q.sample(key)
        log_prior = jnp.sum(-0.5 * z**2 - 0.5 * jnp.log(2 * jnp.pi))
        return vae.decode(vae_fit.params, z).log_prob(x) + log_prior - q.log_prob(z)

    return jax.vmap(one)(jax.random.split(key, 2000))


image = digits.view.example(jnp.asarray(digits.test.x[0]))
log_w = log_weights(key, image)
estimate = jax.nn.logsumexp(log_w) - jnp.log(len(log_w))
w = jnp.exp(log_w - log_w.max())  # any common factor cancels
error = w.std(ddof=1) / (jnp.sqrt(len(w)) * w.mean())
size = w.sum() ** 2 / jnp.sum(w**2)
print(
    f"log p(x) = {estimate:.2f} ± {error:.2f}, from {len(w)} weights that are worth {size:.0f}; their mean logarithm {log_w.mean():.2f}"
)

found = evaluate.estimate_from(log_w)
np.testing.assert_allclose([estimate, error, size], [*found], rtol=1e-3)

# %% [markdown]
# `tasks.evaluate` does so for every image and makes a table. Its summary has two standard errors, which answer different questions:
# `nll_se`, over the images, how far this mean may be from that of other test sets; `nll_monte_carlo_se`, how far from the mean that these
# images would have with more weights.

# %%
of_vae = tasks.evaluate(vae, vae_fit.params, key, digits.test, num_importance_samples=100)
of_made = tasks.evaluate(density, made_fit.params, key, digits.test)
print("VAE: ", {name: round(float(value), 3) for name, value in of_vae.summary.items() if "nll" in name or name == "elbo"})
print("MADE:", {name: round(float(value), 3) for name, value in of_made.summary.items()})

# %% [markdown]
# Which model is better? Both saw the same images, and some images are hard for both. So compare image by image: the standard error of the
# mean difference is smaller than what the two errors would suggest.

# %%
difference = of_vae.table["log_prob"] - of_made.table["log_prob"]
mean, error = evaluate.mean_and_standard_error(difference)
apart = float(np.hypot(of_vae.summary["nll_se"], of_made.summary["nll_se"]))
print(f"log p of the VAE − log p of the MADE: {mean:.2f} ± {error:.2f} nats; as if unpaired, ± {apart:.2f}")
assert error < apart

# %% [markdown]
# ### Is the estimate converged?
#
# A standard error is no help if the weights miss where the mass is. Two checks: let $K$ grow, and use a method that fails in another
# way. **Annealed importance sampling** (Neal 2001, arXiv:physics/9803008; Wu et al. 2017, arXiv:1611.04273) does not need a good $q$.
# It moves draws of the prior through
#
# $$f_t(z) = p(z)\, p(x|z)^{\beta_t}, \qquad 0 = \beta_0 < \dots < \beta_T = 1,$$
#
# by steps of Hamiltonian Monte Carlo, and collects the weight $w = \prod_t p(x|z_{t-1})^{\beta_t - \beta_{t-1}}$ on the way. Again
# $\mathbb{E}[w] = p(x)$.

# %%
few = Split(digits.test.x[:5], digits.test.labels[:5])
many = evaluate.example_keys(key, 5)
few_x = digits.view.examples(few.on_device()).x
weights = jax.jit(
    jax.vmap(
        lambda key, x: jax.lax.map(lambda k: log_weight(vae, vae_fit.params, k, x), jax.random.split(key, 4096), batch_size=512)
    )
)(many, few_x)
sizes = 2 ** np.arange(13)
sums = np.logaddexp.accumulate(np.asarray(weights, np.float64), axis=1)
curves = sums[:, sizes - 1] - np.log(sizes)

betas = evaluate.temperatures(80)
annealed = tasks.annealed_likelihood(vae, vae_fit.params, key, few, betas, num_chains=8)
for i in range(5):
    by_weights = evaluate.estimate_from(weights[i])
    print(
        f"image {i}: weights {by_weights.log_prob:8.2f} ± {by_weights.standard_error:.2f} (worth {by_weights.effective_sample_size:5.0f})",
        end="",
    )
    print(
        f"   annealed {annealed.log_prob[i]:8.2f} ± {annealed.standard_error[i]:.2f} (worth {annealed.effective_sample_size[i]:.1f} of 8)"
    )

# %%
figure, axes = plt.subplots(figsize=(6, 3.2))
axes.plot(sizes, curves.mean(axis=0), marker="o", label="importance weights")
axes.axhline(annealed.log_prob.mean(), color="black", linestyle="--", label="annealed, 80 temperatures")
axes.set(xscale="log", xlabel="K", ylabel="mean of five log p(x) (nats)")
axes.legend()
figure.tight_layout()

# %% [markdown]
# Both are lower bounds in expectation, so that the higher one is likely to be nearer. Two things to read off. The curve still rises at
# its right end: 4,096 weights are not yet enough. And the standard errors are too small to be believed at such effective sample sizes: a
# few weights of 4,096 make each estimate, and what was not drawn is in no standard error. (Eight short chains are few too; a report
# would take more of both.)
#
# From above? For an image that the *model* drew, its own $z$ is an exact draw of the posterior, and a chain that runs backwards from
# it gives an upper bound (bidirectional Monte Carlo, Grosse et al. 2015, arXiv:1511.02543):

# %%
lower, upper_bound = tasks.bracket(vae, vae_fit.params, key, 5, betas, num_chains=8)
print("lower", np.round(lower.log_prob, 2))
print("upper", np.round(upper_bound.log_prob, 2))
print(
    f"mean gap {np.mean(upper_bound.log_prob - lower.log_prob):.2f} nats: between them lies the truth, up to the noise of the chains"
)
assert np.mean(upper_bound.log_prob - lower.log_prob) > -0.5

# %% [markdown]
# ## 2. Completion
#
# Hide a part of $x$: we want draws of $p(x_{\text{hidden}} | x_{\text{seen}})$. For the MADE, whose order begins at the top, this is
# exact if the upper half is what is seen: go on from there, pixel by pixel.
#
# A VAE has an encoder of whole images only. **Pseudo-Gibbs** (Rezende et al. 2014, arXiv:1401.4082, appendix F) fills the hidden part
# with something, encodes, decodes, and repeats:
#
# $$z \sim q(z | x_{\text{seen}}, x_{\text{hidden}}), \qquad x_{\text{hidden}} \sim p(x_{\text{hidden}} | z) .$$
#
# Were $q$ the posterior, this were a Gibbs sampler. It is not, and the chain tends to a wrong distribution. **Metropolis within Gibbs**
# (Mattei & Frellsen 2018, arXiv:1802.04826) accepts the new $z'$ with probability
#
# $$\min\left(1,\; \frac{p(x|z')\, p(z')\, q(z|x)}{p(x|z)\, p(z)\, q(z'|x)}\right),$$
#
# which corrects for $q$. To see that it does, we need a model of which the answer is known. Take
#
# $$z \sim N(0, 1), \qquad x = (x_1, x_2),\; x_i \sim N(z, \sigma^2),$$
#
# and an encoder that is wrong on purpose: its mean is that of the posterior, and its variance twice as large. Given $x_1$,
#
# $$z | x_1 \sim N\!\left(\frac{x_1}{1 + \sigma^2}, \frac{\sigma^2}{1 + \sigma^2}\right), \qquad
# x_2 | x_1 \sim N\!\left(\frac{x_1}{1 + \sigma^2},\; \frac{\sigma^2}{1 + \sigma^2} + \sigma^2\right).$$
#
# A model of one's own is a `VAE` of four functions:

# %%
NOISE = 0.5  # σ
posterior_variance = NOISE**2 / (2 + NOISE**2)
linear = VAE(
    init=lambda key, x, context=None: {},
    encode=lambda params, x, context=None: Normal(
        jnp.sum(x, keepdims=True) / (2 + NOISE**2), jnp.full(1, jnp.sqrt(2 * posterior_variance))
    ),
    decode=lambda params, z, context=None: Normal(jnp.repeat(z, 2), jnp.full(2, NOISE)),
    prior=lambda params, context=None: Normal(jnp.zeros(1), jnp.ones(1)),
)

# %% [markdown]
# The chain, by hand, for a known $x_1 = 1.5$:


# %%
def pseudo_gibbs(key, seen, num_steps, correct):
    log_weight_of = lambda z, x: (
        linear.decode({}, z).log_prob(x) + linear.prior({}).log_prob(z) - linear.encode({}, x).log_prob(z)
    )

    def step(state, key):
        z, x = state
        propose_key, test_key, fill_key = jax.random.split(key, 3)
        proposal = linear.encode({}, x).sample(propose_key)
        log_ratio = log_weight_of(proposal, x) - log_weight_of(z, x)
        accept = (jnp.log(jax.random.uniform(test_key)) < log_ratio) | (not correct)
        z = jnp.where(accept, proposal, z)
        x = jnp.array([seen, 0.0]).at[1].set(linear.decode({}, z).sample(fill_key)[1])
        return (z, x), x[1]

    _, hidden = jax.lax.scan(step, (jnp.zeros(1), jnp.array([seen, 0.0])), jax.random.split(key, num_steps))
    return hidden[-1]


chain_keys = jax.random.split(key, 10_000)
seen_first = jnp.array([True, False])
ends = {}
for name, chain in {"pseudo-Gibbs": "gibbs", "Metropolis within Gibbs": "metropolis"}.items():
    mine = jax.jit(jax.vmap(lambda key, chain=chain: pseudo_gibbs(key, 1.5, 30, chain == "metropolis")))(chain_keys)
    library = lambda key, chain=chain: complete_by_chain(linear, {}, key, jnp.array([1.5, 0.0]), seen_first, 30, chain).x[1]
    ends[name] = mine, jax.jit(jax.vmap(library))(chain_keys)
    print(f"{name:24} variance of x₂: by hand {mine.var():.3f}, by the library {ends[name][1].var():.3f}")

exact_variance = NOISE**2 / (1 + NOISE**2) + NOISE**2
print(f"{'exact':24} {exact_variance:.3f}")
for mine, library in ends.values():
    assert abs(mine.var() - library.var()) < 0.03
assert abs(ends["Metropolis within Gibbs"][1].var() - exact_variance) < 0.02
assert ends["pseudo-Gibbs"][1].var() > exact_variance + 0.05

# %%
grid = np.linspace(-2.0, 4.5, 200)
for name, (_, library) in ends.items():
    plt.hist(np.asarray(library), bins=60, range=(-2, 4.5), density=True, histtype="step", label=name)
exact_mean = 1.5 / (1 + NOISE**2)
plt.plot(
    grid, np.exp(-0.5 * (grid - exact_mean) ** 2 / exact_variance) / np.sqrt(2 * np.pi * exact_variance), "k--", label="exact"
)
plt.xlabel("$x_2$, given $x_1 = 1.5$")
plt.ylabel("density")
plt.legend()
plt.tight_layout()

# %% [markdown]
# Both chains have run for 30 steps from 10,000 starts, so that what remains is not noise. Pseudo-Gibbs is too wide, as its encoder is;
# the test for acceptance repairs it.
#
# Now the digits. `tasks.complete` takes which pixels are known.

# %%
some = Split(digits.test.x[:10], digits.test.labels[:10])
upper = np.zeros((28, 28, 1), bool)
upper[:14] = True
gibbs = tasks.complete(vae, vae_fit.params, key, some, upper, 2, method="gibbs", num_steps=100)
metropolis = tasks.complete(vae, vae_fit.params, key, some, upper, 2, method="metropolis", num_steps=100)
in_order = tasks.complete(density, made_fit.params, key, some, upper, 2)
print("exact under the order of the MADE:", bool(in_order.exact.all()))
print(f"of the proposals of Metropolis, {float(metropolis.acceptance.mean()):.0%} were accepted")

# %%
whole = digits.view.examples(some.on_device()).x
given = jnp.where(upper, whole, 0.5)
rows = [whole, given, *gibbs.x, *metropolis.x, *in_order.x]
names = ["image", "seen", "pseudo-Gibbs", "", "Metropolis", "", "MADE", ""]
plots.image_grid(jnp.concatenate(rows), 10, "", names)

# %% [markdown]
# Few proposals are accepted: the chain of Metropolis is right in the limit and slow on the way, so that its two draws may still show where
# it started. Pictures cannot decide between the methods either: a plausible lower half is not yet one of the right probability. The conditional density can. By
# the rule of products
#
# $$-\log p(x_{\text{hidden}} | x_{\text{seen}}) = \log p(x_{\text{seen}}) - \log p(x),$$
#
# both terms estimated by importance weights for the VAE, and exact for the MADE.

# %%
of_parts = tasks.missing_estimate(vae, vae_fit.params, key, some, upper, num_importance_samples=300)
exact_parts = tasks.missing_estimate(density, made_fit.params, key, some, upper, num_importance_samples=2)
for name, parts in {"VAE": of_parts, "MADE": exact_parts}.items():
    mean, error = evaluate.mean_and_standard_error(np.asarray(parts.nll))
    noise = float(np.median(parts.nll_standard_error))
    print(
        f"{name:4}: −log p(lower half | upper half) = {mean:.1f} ± {error:.1f} over images; Monte Carlo error of one image {noise:.2f}"
    )
assert float(exact_parts.nll_standard_error.max()) < 1e-3

# %% [markdown]
# ## 3. Novelty
#
# Can the model tell images of another kind? Give each image a score that should be larger for what is novel, and ask how often a
# novel image scores higher than a known one: the **AUROC**,
#
# $$\mathrm{AUROC} = P(s_{\text{novel}} > s_{\text{known}}) + \tfrac12 P(s_{\text{novel}} = s_{\text{known}}),$$
#
# ½ for chance, 1 for a perfect score, and below ½ for a score that is wrong way round. As code:


# %%
def auroc(known, novel):
    return np.mean((novel[:, None] > known) + 0.5 * (novel[:, None] == known))


rng = np.random.default_rng(0)
known, novel = rng.normal(size=300).round(1), rng.normal(1.0, size=200).round(1)  # rounded: there are ties
np.testing.assert_allclose(auroc(known, novel), evaluate.detection(known, novel).auroc, rtol=1e-6)

# %% [markdown]
# Other data, made of the test images: negatives; digits moved sideways by six pixels; mirrored along the diagonal; shrunk to half the size;
# and noise with as many white pixels as the digits have.

# %%
x = digits.test.x
shrunk = np.zeros_like(x)
shrunk[:, 7:21, 7:21] = x[:, ::2, ::2]
others = {
    "negative": 255 - x,
    "moved": np.roll(x, 6, axis=2),
    "mirrored": np.swapaxes(x, 1, 2),
    "shrunk": shrunk,
    "noise": 255 * np.asarray(jax.random.bernoulli(key, float(x.mean()) / 255, x.shape), np.uint8),
}
shown = np.concatenate([x[:10], *(part[:10] for part in others.values())]) / 255
plots.image_grid(shown, 10, "", ["digits", *others])

# %% [markdown]
# The scores come from the table of an evaluation. Typicality needs the mean over training images, binarised like the test images (in the
# data set that we trained on they are grey, since each step draws them anew).

# %%
binary = load_dataset("mnist-5k", "none").binarised("dynamic", train=True)
sets = {"train": binary.train.x[:500], "digits": x, **others}
models = {"VAE": (vae, vae_fit.params, {"num_importance_samples": 50}), "MADE": (density, made_fit.params, {})}
tables = {
    (name, part): tasks.evaluate(model, params, key, Split(images), **options).table
    for name, (model, params, options) in models.items()
    for part, images in sets.items()
}
for part in sets:
    print(f"{part:9} white pixels {sets[part].mean() / 255:.3f}   ", end="")
    print("   ".join(f"mean log p, {name}: {tables[name, part]['log_prob'].mean():8.1f}" for name in models))

# %% [markdown]
# Read the two lines of the shrunk digits and of the digits. Neither model has seen a shrunk digit, and both find them far more
# probable than test images of their own data. This is the trap: **a likelihood may be higher on other data** (Nalisnick et al. 2019,
# arXiv:1810.09136, who found it for models of CIFAR-10 on SVHN, and of Fashion-MNIST on MNIST). There is no contradiction. log p(x)
# is the number of nats that the model needs for the image, and a small digit has fewer edges to describe. A most probable image need
# not be like a draw: the mode of a model is in general nothing that it draws.

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 3), sharey=True)
for panel, name in zip(axes, models, strict=True):
    for part in ("digits", "shrunk", "mirrored", "moved"):
        panel.hist(tables[name, part]["log_prob"], bins=40, range=(-350, 0), alpha=0.5, label=part)
    panel.set(title=name, xlabel="log p(x) (nats)")
axes[0].set_ylabel("images")
axes[0].legend(fontsize=8)
figure.tight_layout()

# %% [markdown]
# `tasks.novelty_scores` makes scores of a table: minus the likelihood; and the **typicality**, its distance from the mean over training
# images, for which too likely is as suspect as too unlikely (Nalisnick et al. 2019, arXiv:1906.02994). Of a VAE also the rate and the
# distortion alone. Add one that uses no likelihood: the distance to the five nearest training images among the latents.

# %%
encode = jax.jit(jax.vmap(lambda x: vae.encode(vae_fit.params, x).mean))
latents = {part: np.asarray(encode(jnp.asarray(images, jnp.float32) / 255)) for part, images in sets.items()}
pixels = {part: images.reshape(len(images), -1) / 255.0 for part, images in sets.items()}
scores = {}
for part in ("digits", *others):
    for name in models:
        found = tasks.novelty_scores(tables[name, part], tables[name, "train"])
        scores |= {(f"{name}: {score}", part): values for score, values in found.items() if "elbo" not in score}
    scores["VAE: distance of latents", part] = evaluate.neighbour_distances(latents["train"], latents[part])
    scores["no model: distance of pixels", part] = evaluate.neighbour_distances(pixels["train"], pixels[part])

which = list(dict.fromkeys(score for score, _ in scores))
print(f"{'AUROC':30}", *(f"{part:>9}" for part in others))
areas = {
    (score, part): evaluate.detection(scores[score, "digits"], scores[score, part]).auroc for score in which for part in others
}
for score in which:
    print(f"{score:30}", *(f"{areas[score, part]:9.3f}" for part in others))
assert areas["VAE: -log_prob", "shrunk"] < 0.5
assert areas["MADE: typicality of log_prob", "shrunk"] > areas["MADE: -log_prob", "shrunk"]

# %% [markdown]
# No row is the best everywhere. Minus the likelihood finds negatives, noise and moved digits, and is upside down for shrunk ones. Typicality
# mends that, and pays for it elsewhere: an improbable image looks no worse to it than a too probable one. The last row is the baseline
# that should never be left out: distances between pixels, which need no model. It does well in the same columns, and falls into the same
# trap: an image with few white pixels is near to every digit.
#
# How sure are these numbers? `detection_intervals` draws both sets anew, a thousand times:

# %%
for score in ("VAE: -log_prob", "MADE: -log_prob"):
    low, high = evaluate.detection_intervals(scores[score, "digits"], scores[score, "mirrored"])["auroc"]
    print(f"{score}, mirrored digits: AUROC {areas[score, 'mirrored']:.3f}, 95 % interval {low:.3f} to {high:.3f}")

# %% [markdown]
# ## 4. Representation
#
# The VAE has never seen a label. Are its latents a better input to a simple classifier than the pixels? A **linear probe** is a logistic
# regression on frozen features,
#
# $$p(y|x) = \mathrm{softmax}(W \mu(x) + b),$$
#
# with μ(x) the posterior mean. It is compared with the pixels, and with as many principal components, which are also a representation
# learned without labels, and linear.

# %%
train_x, test_x = (np.asarray(part.x, np.float64).reshape(len(part.x), -1) / 255 for part in (binary.train, binary.test))
codes = [np.asarray(encode(jnp.asarray(rows, jnp.float32).reshape(-1, 28, 28, 1)), np.float64) for rows in (train_x, test_x)]
components = evaluate.principal_components(train_x, test_x, 16)
inputs = {"VAE latents (16)": codes, "PCA (16)": components, "pixels (784)": (train_x, test_x)}

# %% [markdown]
# By hand, gradient descent on the penalised cross-entropy, in a dozen lines. The features are centred and divided by one number, and
# the penalty is that of scikit-learn with $C = 1$, so that both must come to the same minimum.

# %%
from sklearn.linear_model import LogisticRegression

num = 1000
centre = codes[0][:num].mean(axis=0)
scale = np.sqrt(np.mean((codes[0][:num] - centre) ** 2))
features, test_features = ((part - centre) / scale for part in (codes[0][:num], codes[1]))
labels, test_labels = binary.train.labels[:num], binary.test.labels


def cross_entropy(weights):
    logits = features @ weights["W"] + weights["b"]
    picked = jnp.take_along_axis(jax.nn.log_softmax(logits), jnp.asarray(labels)[:, None], axis=1)
    return (0.5 * jnp.sum(weights["W"] ** 2) - jnp.sum(picked)) / num


@jax.jit
def descend(weights):
    move = lambda weights, _: (jax.tree.map(lambda w, g: w - 0.5 * g, weights, jax.grad(cross_entropy)(weights)), None)
    return jax.lax.scan(move, weights, length=2000)[0]


probe = descend({"W": jnp.zeros((16, 10)), "b": jnp.zeros(10)})
by_hand = np.mean(np.argmax(test_features @ probe["W"] + probe["b"], axis=1) == test_labels)
reference = LogisticRegression(C=1.0, max_iter=1000).fit(features, labels).score(test_features, test_labels)
print(f"accuracy by hand {by_hand:.3f}, by scikit-learn {reference:.3f}")
assert abs(by_hand - reference) < 0.01

# %% [markdown]
# `evaluate.probe_accuracies` does so for any representation; it chooses the penalty on a fifth of the labelled images, and has ten
# nearest neighbours beside it.

# %%
accuracy = {}
for num in (100, 1000):
    for name, (rows, test_rows) in inputs.items():
        accuracy[name, num] = evaluate.probe_accuracies(rows[:num], binary.train.labels[:num], test_rows, test_labels)
        found = accuracy[name, num]
        print(
            f"{num:5} labels, {name:17} linear {found['linear']:.3f} ± {found['linear_se']:.3f}, neighbours {found['neighbours']:.3f}"
        )

# %%
figure, panels = plt.subplots(1, 2, figsize=(8, 3), sharey=True)
for panel, kind in zip(panels, ("linear", "neighbours"), strict=True):
    for i, name in enumerate(inputs):
        means = [accuracy[name, num][kind] for num in (100, 1000)]
        errors = [2 * accuracy[name, num][f"{kind}_se"] for num in (100, 1000)]
        panel.errorbar(np.arange(2) + 0.12 * (i - 1), means, errors, fmt="o", capsize=3, label=name)
    panel.set(xticks=range(2), xticklabels=("100 labels", "1,000 labels"), title=kind, xlim=(-0.5, 1.5))
panels[0].set_ylabel("accuracy (± 2 s.e.)")
panels[0].legend(fontsize=8, loc="lower right")
figure.tight_layout()

# %% [markdown]
# Compare the points with their errors before you rank them. A linear probe does about as well on 16 latents as on 784 pixels. Nearest
# neighbours show what the latents have to give: distances between them mean more than distances between pixels, which count every shift
# of a stroke. PCA is the baseline that says how much of this needs a deep model: here it is behind the latents for a linear probe of 100 labels, ahead
# for neighbours of as many, and close to them with 1,000.
#
# ## Exercises
#
# **1.** The simplest estimate of log p(x) draws $z$ from the prior: $p(x) = \mathbb{E}_{p(z)}[p(x|z)]$. Compute it for the five images
# with 4,096 draws. How large is the effective sample size, and on which side of the truth is the estimate?
#
# <details><summary>Solution</summary>
#
# ```python
# def naive(key, x):
#     z = jax.vmap(vae.prior(vae_fit.params).sample)(jax.random.split(key, 4096))
#     return jax.lax.map(lambda z: vae.decode(vae_fit.params, z).log_prob(x), z, batch_size=512)
#
# for log_w in jax.jit(jax.vmap(naive))(many, few_x):
#     found = evaluate.estimate_from(log_w)
#     print(f"{found.log_prob:.1f} ± {found.standard_error:.2f}, worth {found.effective_sample_size:.1f}")
# ```
#
# Worth a few draws of 4,096: hardly any $z$ of the prior makes this image. The estimate is far too low, and its standard error does not
# know: of weights that were never drawn, none can tell.
# </details>
#
# **2.** Let the *left* half be seen. Does the MADE still complete exactly? Which method of `tasks.complete` helps, and how well?
#
# <details><summary>Solution</summary>
#
# ```python
# left_half = np.zeros((28, 28, 1), bool)
# left_half[:, :14] = True
# plain = tasks.complete(density, made_fit.params, key, few, left_half, 2)
# print(bool(plain.exact.all()), int(plain.unused[0, 0]))
# better = tasks.complete(density, made_fit.params, key, few, left_half, 2, method="resampling", num_importance_samples=200)
# print(better.effective_sample_size)
# ```
#
# No: in each row the right half is drawn before the rows below are looked at. Resampling weighs draws by what they make of the seen pixels
# that come later, and is exact in the limit; the effective sample size says how far from it we are.
# </details>
#
# **3.** log p(x) is high for images that are simple in any model. Take the length of the image under a general compressor as what
# is "simple" (Serrà et al. 2020, arXiv:1909.11480; `compressed_nats` in `gen_jax.tasks.novelty`) and score images by
# minus log p(x) minus that length. What is its AUROC for shrunk digits, and for the others?
#
# <details><summary>Solution</summary>
#
# ```python
# from gen_jax.tasks.novelty import compressed_nats
#
# ratio = lambda part: -tables["VAE", part]["log_prob"] - compressed_nats(Split(sets[part]))
# for part in others:
#     print(part, evaluate.detection(ratio("digits"), ratio(part)).auroc)
# ```
#
# 0.97 for shrunk digits, where minus log p(x) alone has 0.05: an image that is simple is expected to be likely. Uniform noise is now
# taken for a digit (0.27), since no compressor shortens it: the score has only moved the blind spot.
# </details>
