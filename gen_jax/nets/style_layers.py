"""Layers of progressive GANs and StyleGANs, for a batch of images [B, H, W, C].

Progressive GAN: Karras et al. 2018 (arXiv:1710.10196). StyleGAN: Karras et al. 2019 (arXiv:1812.04948); its second version,
Karras et al. 2020 (arXiv:1912.04958).
"""

import itertools
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from gen_jax.nets.conv import conv
from gen_jax.nets.translation_nets import instance_norm
from gen_jax.types import Array

SQRT2 = 2**0.5


class EqualDense(nn.Module):
    """x ↦ x (g m / √I) W + m b with W ~ N(0, 1/m²), b = b₀/m: the equalised learning rate (progressive GAN, §4.1).

    He's constant g/√I scales W at run time, so that an optimizer whose steps do not depend on the size of gradients, such as
    Adam, changes every layer at one relative speed; the multiplier m slows a layer down.

    Attributes:
        features: the number of outputs.
        multiplier: m, of the learning rate.
        gain: g.
        bias: b₀, the initial bias.
    """

    features: int
    multiplier: float = 1.0
    gain: float = 1.0
    bias: float = 0.0

    @nn.compact
    def __call__(self, x: Float[Array, "*batch I"]) -> Float[Array, "*batch O"]:
        """Return the output for each row."""
        size, m = x.shape[-1], self.multiplier
        kernel = self.param("kernel", nn.initializers.normal(1 / m), (size, self.features))
        bias = self.param("bias", nn.initializers.constant(self.bias / m), (self.features,))
        return x @ (kernel * (self.gain * m * size**-0.5)) + jnp.expand_dims(m * bias, range(x.ndim - 1))


class EqualConv(nn.Module):
    """A convolution with the kernel (g / √(k² I)) W, W ~ N(0, 1), "SAME" padding, and a bias: see `EqualDense`."""

    features: int
    kernel_size: int = 3
    gain: float = 1.0

    @nn.compact
    def __call__(self, x: Float[Array, "B H W I"]) -> Float[Array, "B H W O"]:
        """Return the convolution."""
        bias = self.param("bias", nn.initializers.zeros_init(), (self.features,))
        return conv(x, _equal_kernel(self, x.shape[-1])) + bias[None, None, None]


def _equal_kernel(layer: "EqualConv | ModulatedConv", inputs: int) -> Float[Array, "k k I O"]:
    k = layer.kernel_size
    kernel = layer.param("kernel", nn.initializers.normal(1.0), (k, k, inputs, layer.features))
    return kernel * (layer.gain / k * inputs**-0.5)


class ModulatedConv(nn.Module):
    """A convolution whose kernel is scaled for each example by a style, and demodulated (StyleGAN 2, eqs. 1 and 3).

        w'_kio = s_i w_kio,    w''_kio = w'_kio / √(Σ_ki w'_kio² + 10⁻⁸),    s = A(w), an `EqualDense` with an initial bias of 1.

    Inputs of unit variance thus have outputs of unit variance. Computed as conv(s x) / √(Σ_i s_i² Σ_k w_kio² + 10⁻⁸), which is
    equal and needs no kernel for each example.

    Attributes:
        features: the number of output channels.
        kernel_size: k.
        demodulate: without, the output is conv(s x).
        gain: as in `EqualConv`.
    """

    features: int
    kernel_size: int = 3
    demodulate: bool = True
    gain: float = 1.0

    @nn.compact
    def __call__(self, x: Float[Array, "B H W I"], w: Float[Array, "B L"]) -> Float[Array, "B H W O"]:
        """Return the convolution of each example by its style."""
        style = EqualDense(x.shape[-1], bias=1.0)(w)
        kernel = _equal_kernel(self, x.shape[-1])
        y = conv(x * style[:, None, None], kernel)
        if not self.demodulate:
            return y
        return y * jax.lax.rsqrt(style**2 @ jnp.sum(kernel**2, axis=(0, 1)) + 1e-8)[:, None, None]


class AdaptiveInstanceNorm(nn.Module):
    """x ↦ (1 + s) (x − μ(x)) / σ(x) + b, with (s, b) = A(w) for each example and channel (StyleGAN, eq. 1).

    (x − μ(x)) / σ(x) is `instance_norm`.
    """

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], w: Float[Array, "B L"]) -> Float[Array, "B H W C"]:
        """Return each example in its style."""
        scale, shift = jnp.split(EqualDense(2 * x.shape[-1])(w)[:, None, None], 2, axis=-1)
        return (1 + scale) * instance_norm(x) + shift


class Noise(nn.Module):
    """x ↦ x + strength ⊙ n, for noise n of one channel, and a learned strength for each channel of x, at first 0."""

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], noise: Float[Array, "B H W 1"] | None) -> Float[Array, "B H W C"]:
        """Return the sum; x itself without noise."""
        strength = self.param("strength", nn.initializers.zeros_init(), (x.shape[-1],))
        return x if noise is None else x + strength[None, None, None] * noise.astype(x.dtype)


def draw_noise(module: nn.Module, num: int, sizes: Sequence[int]) -> list[Float[Array, "B P P 1"] | None]:
    """Return N(0, I) images of these sizes for `num` examples, by the module's stream "noise"; None each if it has none.

    They are one draw, since XLA compiles the generator of random numbers anew for each.
    """
    if not module.has_rng("noise"):
        return [None] * len(sizes)
    ends = list(itertools.accumulate(size**2 for size in sizes))
    flat = jax.random.normal(module.make_rng("noise"), (num, ends[-1]))
    return [part.reshape(num, size, size, 1) for part, size in zip(jnp.split(flat, ends[:-1], axis=1), sizes, strict=True)]


def leaky(x: Array) -> Array:
    """Return √2 · leaky ReLU with slope 0.2: of about the variance of its input, so that kernels need a gain of 1 only."""
    return SQRT2 * nn.leaky_relu(x, 0.2)


def pixel_norm(x: Float[Array, "*batch C"]) -> Float[Array, "*batch C"]:
    """Return x / √(mean of x² over channels + 10⁻⁸) (progressive GAN, §4.2); of a latent, its point on the sphere ‖z‖² = Z."""
    return x * jax.lax.rsqrt(jnp.mean(x**2, axis=-1, keepdims=True) + 1e-8)


def minibatch_std(x: Float[Array, "B H W C"], group: int = 4) -> Float[Array, "B"]:
    """Return for each example the mean over pixels and channels of the standard deviation over its group of examples.

    A group holds `group` examples (progressive GAN, §3; StyleGAN's code has 4), or all of a batch that this does not divide. The
    standard deviation is √(variance + 10⁻⁸).
    """
    size = group if len(x) % group == 0 else len(x)
    groups = x.reshape(-1, size, *x.shape[1:])
    return jnp.repeat(jnp.mean(jnp.sqrt(jnp.var(groups, axis=1) + 1e-8), axis=(1, 2, 3)), size)


def blur(x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
    """Return x filtered by [1, 2, 1] / 4 along rows and columns; the pixels of the edge are repeated outside of the image."""
    for axis in (1, 2):
        pads = [(int(a == axis), int(a == axis)) for a in range(4)]
        padded = jnp.pad(x, pads, mode="edge")
        n = x.shape[axis]
        part = lambda at, axis=axis, padded=padded, n=n: jax.lax.slice_in_dim(padded, at, at + n, axis=axis)
        x = (part(0) + 2 * part(1) + part(2)) / 4
    return x


def halve(x: Float[Array, "B H W C"]) -> Float[Array, "B P Q C"]:
    """Return images of half the height and width, by the mean of 2 × 2 pixels."""
    batch, height, width, channels = x.shape
    return jnp.mean(x.reshape(batch, height // 2, 2, width // 2, 2, channels), axis=(2, 4))
