"""Spectral normalisation (Miyato et al. 2018, arXiv:1802.05957), and the layers of a batch that can have it.

A layer makes its kernel once and maps it over the batch, so that the vector of the power iteration is one for all examples.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from gen_jax.nets.conv import Padding, conv
from gen_jax.nets.mlp import Initializer, add_bias
from gen_jax.types import Array

# the least norm to divide by: a kernel of zeros stays zeros
MIN_NORM = 1e-12


class SpectralNorm(nn.Module):
    """W ↦ W / σ(W), with σ the largest singular value of W [everything else, output channels], estimated by power iteration.

    Its variable u [O], in the collection "spectral", is the estimate of the right singular vector. With a/‖a‖ written n(a):

        v = n(W u),    in training u ← n(Wᵀ v),    σ = vᵀ W u,

    which is one iteration for each application in training. Otherwise u is only read. The letters are the paper's, whose W is
    the transpose of this one. The gradient of W / σ(W) takes u and v as constants, ∂σ/∂W = v uᵀ, which is exact where they have
    converged. A fresh u is uniform on the sphere, and σ is underestimated at first.

    The matrix of a convolution is its reshaped kernel, as in the paper; the norm of the convolution as a linear map of images can
    be greater, up to the square root of the number of pixels of the kernel.
    """

    @nn.compact
    def __call__(self, kernel: Float[Array, "*rest O"], train: bool) -> Float[Array, "*rest O"]:
        """Return the kernel divided by the estimate of its largest singular value."""
        matrix = kernel.reshape(-1, kernel.shape[-1])
        held = jax.lax.stop_gradient(matrix)
        u = self.variable("spectral", "u", lambda: _unit(jax.random.normal(self.make_rng("params"), held.shape[1:], held.dtype)))
        v = _unit(held @ u.value)
        if train:
            u.value = _unit(v @ held)
        return kernel / jnp.maximum(v @ matrix @ u.value, MIN_NORM)


def _unit(vector: Float[Array, "N"]) -> Float[Array, "N"]:
    return vector / jnp.maximum(jnp.linalg.norm(vector), MIN_NORM)


class Dense(nn.Module):
    """x ↦ x W + b for each row of a batch: `flax.linen.Dense`, that can be spectrally normalised.

    Attributes:
        features: the width of the output.
        use_bias: adds b.
        spectral_norm: divides W by its largest singular value; see `SpectralNorm`.
        kernel_init: the initialiser of W [in, out].
    """

    features: int
    use_bias: bool = True
    spectral_norm: bool = False
    kernel_init: Initializer = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: Float[Array, "B I"], train: bool) -> Float[Array, "B O"]:
        """Return the output for each row."""
        kernel = _kernel(self, (x.shape[1], self.features), train)
        return add_bias(self, x @ kernel)


class BatchConv(nn.Module):
    """`gen_jax.nets.conv` of each image of a batch, with one kernel and bias, that can be spectrally normalised.

    Attributes:
        features: the channels of the output.
        kernel_size: the height and the width of the kernel.
        stride: how many pixels the kernel moves on.
        padding: zeros around the image; see `conv`.
        use_bias: adds a number to each channel.
        spectral_norm: divides the kernel by its largest singular value; see `SpectralNorm`.
        kernel_init: the initialiser of the kernel [height, width, in, out].
    """

    features: int
    kernel_size: int
    stride: int = 1
    padding: Padding = "SAME"
    use_bias: bool = True
    spectral_norm: bool = False
    kernel_init: Initializer = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: Float[Array, "B H W I"], train: bool) -> Float[Array, "B P Q O"]:
        """Return the convolution of each image."""
        kernel = _kernel(self, (self.kernel_size, self.kernel_size, x.shape[3], self.features), train)
        return add_bias(self, jax.vmap(lambda image: conv(image, kernel, self.stride, self.padding))(x))


def _kernel(layer: Dense | BatchConv, shape: tuple[int, ...], train: bool) -> Array:
    kernel = layer.param("kernel", layer.kernel_init, shape)
    return SpectralNorm()(kernel, train) if layer.spectral_norm else kernel
