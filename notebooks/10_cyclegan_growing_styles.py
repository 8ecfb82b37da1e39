# %% [markdown]
# # 10 · Translation without pairs, growing, styles
#
# Three ideas that made GANs of images what they became:
#
# - **CycleGAN** (Zhu et al. 2017, arXiv:1703.10593): translate between two sets of images of which no pairs are known;
# - **progressive growing** (Karras et al. 2018, arXiv:1710.10196): learn 4 × 4 pixels first, then double;
# - **StyleGAN** (Karras et al. 2019, arXiv:1812.04948): tell each layer by a *style* what to make.
#
# All are the game of notebooks 8 and 9: two networks, two losses, alternating steps. What is new is who plays, and on what. The
# networks here are tiny and their training is a few hundred steps: look at the mechanics, not at the beauty of the pictures.

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
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from gen_jax import nets, runs
from gen_jax.distributions import Normal
from gen_jax.gan import Growth, draw_from_pool, draw_latents, empty_pool, growing_gan, style_gan, truncated
from gen_jax.recipes import RECIPES, change

plt.rcParams.update({"figure.figsize": (7, 3), "figure.dpi": 80, "axes.spines.top": False, "axes.spines.right": False})

# %% [markdown]
# Runs go into a folder that is temporary, and images are drawn in rows:

# %%
folder = Path(tempfile.mkdtemp())


def show(rows, titles=(), scale=0.8):
    """Draw rows of images [R, N, H, W, 1] in [0, 1]."""
    rows = [np.asarray(row)[..., 0] for row in rows]
    _, axes = plt.subplots(len(rows), len(rows[0]), figsize=(scale * len(rows[0]), scale * len(rows)), squeeze=False)
    for i, (line, images) in enumerate(zip(axes, rows, strict=True)):
        for axis, image in zip(line, images, strict=True):
            axis.imshow(image, cmap="gray", vmin=0, vmax=1)
            axis.set(xticks=[], yticks=[])
        if i < len(titles):
            line[0].set_ylabel(titles[i], fontsize=7, rotation=0, ha="right", va="center")


# %% [markdown]
# ## CycleGAN: why the adversarial loss is not enough
#
# There are images of domain A, here edges of digits, and of domain B, digits; which belong together, nobody says. A generator
# $G: A \to B$ with a discriminator of B makes images that look like B. But *any* map of A onto B would do that: it might draw a fine 3
# for each edge image of a 7. With $n$ images in each domain, $n!$ pairings satisfy the discriminator equally.
#
# The second generator, $F: B \to A$, ties them together by the **cycle loss**: what was translated must be recoverable,
#
# $$L_{\text{cyc}} = \mathbb E\,\|F(G(a)) - a\|_1 + \mathbb E\,\|G(F(b)) - b\|_1 .$$
#
# Both directions together: $L = L_{\text{GAN}}(G, D_B) + L_{\text{GAN}}(F, D_A) + \lambda L_{\text{cyc}}$, with $\lambda = 2$ here (the
# paper has 10), and least squares as the adversarial loss. For some data the paper adds an identity loss, $\tfrac{\lambda}{2}
# (\|G(b) - b\|_1 + \|F(a) - a\|_1)$: an image that is in the target domain already stays. Edges are no digits, and the recipe has none.

# %%
settings = change(RECIPES["cyclegan"].settings, epochs=2, epoch_steps=100, validate_every=2)
print({name: getattr(settings, name) for name in ("data", "width", "cycle_weight", "identity_weight", "pool_size", "batch_size")})
result = runs.train("cyclegan", settings, folder / "cycle")
run = runs.load_run(folder / "cycle")

# %% [markdown]
# The true partners are known here (the program made the edges), and the model never saw them together. So translation can be
# *measured*, which the usual data of CycleGAN do not allow. Beside it stands the identity map, which is the number to beat:

# %%
for direction in ("a-to-b", "b-to-a"):
    rows = runs.perform(run, "translate", direction=direction, num=100).summary
    for name in ("model", "identity map"):
        print(f"{direction} {name:13}", {key: round(value, 3) for key, value in rows[name].items() if key in ("l1", "ssim")})

# %% [markdown]
# After 200 steps of batches of four this is a beginning;
# [the site](../docs/families/cyclegan.md#results) has longer runs. The pictures: source, translation, back again, true partner.

# %%
outcome = runs.perform(run, "translate", direction="a-to-b")
runs.save(run, outcome, folder / "translation.png")
figure = plt.figure(figsize=(7, 4))
plt.imshow(plt.imread(folder / "translation.png"))
plt.axis("off")
plt.show()

# %% [markdown]
# ### The image pool
#
# The discriminators see not only the newest translations but also old ones, from a pool of 50: a coin is thrown for each new image,
# heads show it, tails show a random old one and put the new one in its place. In a functional library the pool is an array in the
# state. Its law can be watched: feed it numbers, and see how old are those that come out.

# %%
numbers = jnp.arange(20_000.0)[:, None, None, None]
shown, _ = jax.jit(draw_from_pool)(empty_pool(50, (1, 1, 1)), jax.random.key(0), numbers)
ages = np.asarray(numbers - shown)[1000:].ravel()  # without the start, in which the pool fills
old = ages[ages > 0]
print(f"new: {np.mean(ages == 0):.3f} of what is shown; mean age of the others {old.mean():.0f} (known: 2 · 50 = 100)")

# %% [markdown]
# The ages lie on the law of a geometric waiting time:

# %%
plt.hist(old, bins=60, density=True, color="0.8")
t = np.arange(1, 500)
plt.plot(t, (1 - 1 / 100) ** (t - 1) / 100, label="a stored image is replaced with probability 1/100 at each later one")
plt.xlabel("age, in images")
plt.legend(fontsize=8)
plt.show()

# %% [markdown]
# ## Growing
#
# A generator of 32 × 32 pixels has to learn at once where a digit is and how thick its lines are. Growing makes it learn 4 × 4
# pixels first; then a stage is added that doubles the size, and **faded in**: while $\alpha$ goes from 0 to 1,
#
# $$x = (1 - \alpha)\, \mathrm{up}(x_{\text{old}}) + \alpha\, x_{\text{new}} .$$
#
# The level says how far it has grown: $s - 1 + \alpha$ while stage $s$ is faded in. It is a function of the step alone, so a run
# that was killed inside a fade goes on where it was.

# %%
growth = Growth(num_stages=4, fade_steps=40, stable_steps=40)
steps = jnp.arange(320)
plt.plot(steps, jax.vmap(growth.level)(steps))
plt.yticks(range(4), [f"{4 * 2**s} pixels" for s in range(4)])
plt.xlabel("step")
plt.show()

# %% [markdown]
# At $\alpha = 0$ the new stage is invisible, exactly: what it makes is the image of the stage before, doubled. The same parameters and
# the same z, at level 1, just above it, and on the way to 2:

# %%
channels, event = (16, 16, 8, 8), (32, 32, 1)
prior = Normal(jnp.zeros(16), jnp.ones(16))
gan = growing_gan(
    nets.batch_net(nets.GrowingGenerator(channels, 1)), nets.batch_net(nets.GrowingDiscriminator(channels)), prior, event, 4
)
variables = jax.jit(gan.whole.init)(jax.random.key(0), jnp.zeros(event))


# %% [markdown]
# The level is an entry of the networks' state, so that it can be set by hand:


# %%
def at_level(level):
    state = type(variables.state)(*(part | {"level": jnp.float32(level)} for part in variables.state))
    z = draw_latents(prior, jax.random.key(1), 6)
    return gan.whole.generate(variables.params, state, jax.random.key(2), z)[0]


levels = (1.0, 1.001, 1.5, 2.0)
show([jax.nn.sigmoid(2 * at_level(level)) for level in levels], [f"level {level}" for level in levels])

# %%
z = draw_latents(prior, jax.random.key(1), 6)
state = type(variables.state)(*(part | {"level": jnp.float32(1)} for part in variables.state))
new, old = (gan.stages[number].generate(variables.params, state, jax.random.key(2), z)[0] for number in (2, 1))
print("largest difference of the new stage at α = 0 from the old one, doubled:", float(jnp.abs(new - nets.upsample(old)).max()))
print("largest change from level 1 to 1.001:", float(jnp.abs(at_level(1.001) - at_level(1.0)).max()))

# %% [markdown]
# ## Styles
#
# A usual generator is given z once, at its bottom. StyleGAN's synthesis begins from a learned constant, and z reaches it sideways: a
# **mapping network** makes $w = f(z)$, and each layer normalises every channel of every image and gives it a new scale and shift,
# computed from w (adaptive instance norm):
#
# $$\mathrm{AdaIN}(x, w) = (1 + s(w))\, \frac{x - \mu(x)}{\sigma(x)} + b(w) .$$
#
# By hand, for one image, against the library's layer:

# %%
layer = nets.AdaptiveInstanceNorm()
h, w = jax.random.normal(jax.random.key(3), (1, 8, 8, 4)), jax.random.normal(jax.random.key(4), (1, 16))
params = layer.init(jax.random.key(5), h, w)
style = w @ params["params"]["EqualDense_0"]["kernel"] / 4.0  # √16: the equalised learning rate scales weights at run time
scale, shift = style[:, None, None, :4], style[:, None, None, 4:]
normalised = (h - h.mean(axis=(1, 2), keepdims=True)) / jnp.sqrt(h.var(axis=(1, 2), keepdims=True) + 1e-5)
np.testing.assert_allclose(layer.apply(params, h, w), (1 + scale) * normalised + shift, atol=1e-5)

# %% [markdown]
# Since a layer's style replaces all that the layer before said of scale and shift, layers can be told different things. That is
# **style mixing**. An untrained network shows it already: take the styles of the first half of the layers from one image and the
# others from another. (Images of the library's network end in a tanh; the paper's are linear.)

# %%
parts = (nets.Mapping(16, 2), nets.StyleSynthesis(channels, 1), nets.GrowingDiscriminator(channels))
gan = style_gan(*(nets.batch_net(net) for net in parts), prior, event, 4, grows=False).whole
params, state = jax.jit(gan.init)(jax.random.key(6), jnp.zeros(event))
w = gan.style.to_styles(params, state, draw_latents(prior, jax.random.key(7), 6))
styles = jnp.repeat(w[:, None], gan.style.num_layers, axis=1)
draw = jax.jit(lambda styles: (gan.style.synthesise(params, state, None, styles) + 1) / 2)  # from (−1, 1) to grey values

# %% [markdown]
# Rows below: each image with all of its styles; then with the coarse ones of the first; then with its fine ones:

# %%
of_first = jnp.broadcast_to(styles[:1], styles.shape)
half = gan.style.num_layers // 2
coarse = jnp.concatenate([of_first[:, :half], styles[:, half:]], axis=1)
fine = jnp.concatenate([styles[:, :half], of_first[:, half:]], axis=1)
images = [draw(styles), draw(coarse), draw(fine)]
show(images, ["each its own", "coarse of the 1st", "fine of the 1st"])

# %% [markdown]
# In this untrained network images with the fine styles of the first (bottom row) take its brightness and contrast, and have shapes of
# their own; with its coarse styles (middle row) they keep their own brightness and contrast. What a layer decides is learned: the
# coarse styles of the site's [trained digits](../docs/families/style.md#results) change what digit it is, and the fine ones its strokes.

# %% [markdown]
# **Truncation** draws styles towards their mean, $\bar w + \psi (w - \bar w)$: less variety, more typical images. At $\psi = 0$ all
# are one image, whatever z was.

# %%
mean = w.mean(axis=0)
psis = (1.0, 0.5, 0.0)
show([draw(truncated(styles, mean, psi)) for psi in psis], [f"ψ = {psi}" for psi in psis])

# %% [markdown]
# The spread over z in the last row is 0:

# %%
one = draw(truncated(styles, mean, 0.0))
print("spread over z at ψ = 0:", float(jnp.abs(one - one[:1]).max()))

# %% [markdown]
# ### Path length
#
# How much does an image change when w moves a little? The second paper wants the same answer everywhere, and penalises the deviation
# of $\|J_w^\top y\|$, $y$ a random image, from its running mean. It is a gradient, and the penalty's gradient is one of a gradient,
# which costs nothing to write in JAX. For a linear map $x = A w$ the answer is known: $\mathbb E \|A^\top y\|^2 = \|A\|_F^2 / P$ for
# $y \sim \mathcal N(0, I/P)$ with $P$ pixels.

# %%
from gen_jax.gan import path_lengths

A = jax.random.normal(jax.random.key(8), (16, 64))
linear = lambda styles: (styles[:, 0] @ A).reshape(-1, 8, 8, 1)
lengths = jax.vmap(lambda key: path_lengths(linear, key, styles[:1, :1]))(jax.random.split(jax.random.key(9), 2000))
print("measured", float(jnp.mean(lengths**2)), " known", float(jnp.sum(A**2) / 64))

# %% [markdown]
# ## By the library
#
# `gen-jax train progressive-mnist` grows such a GAN on digits in some four minutes of one core, and `gen-jax train stylegan-mnist`
# trains a StyleGAN; `gen-jax styles RUN` then draws what you have drawn here for a trained network, and `gen-jax project RUN` finds
# test images among those that it can make. How the two compare at this size, [the site
# says](../docs/families/style.md#results).

# %% [markdown]
# ## Exercises
#
# **1.** Why does CycleGAN's generator not simply copy its input and paint the answer into bits that no one sees? (It does, a little:
# Chu et al. 2017, arXiv:1712.02950.) Take a translation, add noise of standard deviation 0.02 to it, translate back, and compare the
# cycle error with that of the clean one.
#
# <details><summary>Solution</summary>
#
# ```python
# from gen_jax.data import load_dataset
#
# model, view, test = run.experiment.model, run.experiment.view, load_dataset(run.settings.data).test
# params = run.params.params  # beside the networks' state
# a, b = model.domains(jax.vmap(view.example)(jnp.asarray(test.x[:50])))
# there = model.translate(params, a, "a-to-b")
# noisy = there + 0.02 * jax.random.normal(jax.random.key(0), there.shape)
# for name, image in {"clean": there, "noisy": noisy}.items():
#     print(name, float(jnp.abs(model.translate(params, image, "b-to-a") - a).mean()))
# ```
#
# The noise changes nothing here (0.214 for both): after 200 steps nothing is hidden in single pixels. A network that hides its
# source there, as they found after long training, loses it to such noise, and nothing in the losses forbids to hide it.
# </details>

# %% [markdown]
# **2.** Show that the fade of real images and that of generated ones match: halve and double a real image, mix it with the original
# by α, and compare with `gen_jax.gan.growing.at_stage`.
#
# <details><summary>Solution</summary>
#
# ```python
# from gen_jax.gan.growing import at_stage
#
# real = jax.random.uniform(jax.random.key(0), (2, 32, 32, 1))
# mixed = 0.3 * real + 0.7 * nets.upsample(nets.halve(real))
# np.testing.assert_allclose(at_stage(real, 3, 4, jnp.float32(0.3)), mixed, rtol=1e-5)
# ```
# </details>

# %% [markdown]
# **3.** The mapping network has a hundredth of the learning rate. Where in `nets.EqualDense` does that come from, and why does
# Adam's step on its weights still have the usual size?
#
# <details><summary>Solution</summary>
#
# Its weights are drawn 100 times larger, N(0, 1/m²) with m = 0.01, and multiplied by m at run time. Adam's step does not depend on
# the scale of the gradient, so a weight moves by the learning rate as ever, which is a hundredth of it relative to the weight.
# </details>
