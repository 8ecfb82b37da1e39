"""Convolution and transposed convolution of images [..., height, width, channels], with kernels [height, width, in, out].

Three maps come from one form, trilinear in the image x, the kernel k and the output y of a convolution with stride s:

    T(x, k, y) = Σ_{o,a,i,c} x[s·o + a − low, i] k[a, i, c] y[o, c],    with x zero outside of the image,
    convolve = ∂T/∂y,    image_adjoint = ∂T/∂x (the transposed convolution),    kernel_adjoint = ∂T/∂k.

The derivatives of each map are the other two, so three fast lowerings make derivatives of every order fast. They are primitives
because the gradients of `jax.lax.conv_general_dilated`, inside a `jax.lax.scan` on a CPU, compile to a loop that is slower by
orders of magnitude. (With `jax.custom_vjp`, the backward pass under `vmap` would compute a kernel gradient for each example and
then sum them.) Accelerators use plain `jax.lax` convolutions.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jax.sharding import AxisType
from jaxtyping import Float

from gen_jax.types import Array, InputError

Pair = tuple[int, int]
Padding = Literal["SAME"] | int | tuple[Pair, Pair]
"""Zeros around the image: one number for all sides, ((top, bottom), (left, right)), or "SAME" for ⌈size / stride⌉ outputs."""


def conv(
    x: Float[Array, "*batch H W I"], kernel: Float[Array, "kh kw I O"], stride: int = 1, padding: Padding = "SAME"
) -> Float[Array, "*batch P Q O"]:
    """Return y[o, c] = Σ_{a,i} x[stride·o + a − low, i] kernel[a, i, c]; the kernel is not flipped.

    The output has ⌊(size + low + high − kernel size) / stride⌋ + 1 rows and columns. If "SAME" needs an odd number of zeros, one
    more is at the end.

    Raises:
        InputError: the stride is less than 1, or the kernel is larger than the padded image.
    """
    image, size = (x.shape[-3], x.shape[-2]), (kernel.shape[0], kernel.shape[1])
    pads = _pads(padding, image, size, stride)
    if any(n + low + high < k for n, k, (low, high) in zip(image, size, pads, strict=True)):
        raise InputError(
            f"A kernel of {size[0]} x {size[1]} does not fit into an image of {image[0]} x {image[1]} padded by {pads}."
        )
    return _bind(convolve_p, x, kernel, image, size, stride, pads)


def conv_transpose(
    y: Float[Array, "*batch P Q O"], kernel: Float[Array, "kh kw I O"], stride: int = 1, padding: Padding = "SAME"
) -> Float[Array, "*batch H W I"]:
    """Return x[n, i] = Σ_{o,a: stride·o + a − low = n} Σ_c y[o, c] kernel[a, i, c], the transposed convolution.

    This is the adjoint of `conv` with the same kernel, stride and padding, ⟨conv(x), y⟩ = ⟨x, conv_transpose(y)⟩, like PyTorch's
    `ConvTranspose2d` and `flax.linen.ConvTranspose` with `transpose_kernel=True`. (By default, Flax's kernel is
    [height, width, in, out] and rotated by 180°.) The *last* axis of the kernel is that of the input channels, and the padding
    removes rows and columns of the output.

    The output has stride·(size − 1) + kernel size − low − high rows and columns; with "SAME", stride·size.

    Raises:
        InputError: the stride is less than 1, or the padding removes the whole output.
    """
    size = (kernel.shape[0], kernel.shape[1])
    pads = _pads(padding, (stride * y.shape[-3], stride * y.shape[-2]), size, stride)
    rows, columns = (stride * (n - 1) + k - low - high for n, k, (low, high) in zip(y.shape[-3:-1], size, pads, strict=True))
    if min(rows, columns) < 1:
        raise InputError(f"A padding of {pads} leaves {rows} x {columns} of the output: give a smaller one.")
    return _bind(image_adjoint_p, y, kernel, (rows, columns), size, stride, pads)


def _pads(padding: Padding, image: Pair, kernel: Pair, stride: int) -> tuple[Pair, Pair]:
    """Return the padding as numbers."""
    if stride < 1:
        raise InputError(f"stride is {stride}: give 1 or more.")
    if isinstance(padding, int):
        return (padding, padding), (padding, padding)
    if padding != "SAME":
        return padding
    excess = [(-(-n // stride) - 1) * stride + k - n for n, k in zip(image, kernel, strict=True)]  # negative: unused rows
    low = [max(e, 0) // 2 for e in excess]
    return (low[0], excess[0] - low[0]), (low[1], excess[1] - low[1])


class _Spec(NamedTuple):
    """The settings of the three maps, with the sizes that an adjoint cannot infer from its arguments."""

    image: Pair
    kernel: Pair
    stride: int
    pads: tuple[Pair, Pair]
    precision: Any  # read at the call, because lowering happens later

    @property
    def output(self) -> Pair:
        rows, columns = ((n + sum(p) - k) // self.stride + 1 for n, k, p in zip(self.image, self.kernel, self.pads, strict=True))
        return rows, columns

    @property
    def block_kernel(self) -> Pair:
        """The size of the kernel in blocks of stride × stride pixels."""
        rows, columns = (-(-k // self.stride) for k in self.kernel)
        return rows, columns


def _bind(primitive: Primitive, image: Array, kernel: Array, *spec: Any) -> Array:
    dtype = jnp.result_type(image, kernel)
    images, kernel = image.astype(dtype).reshape(1, -1, *image.shape[-3:]), kernel.astype(dtype)
    full = _Spec(*spec, jax.default_matmul_precision.value)
    if AxisType.Manual in jax.sharding.get_abstract_mesh().axis_types:  # in `shard_map`, whose checks know JAX's own primitives
        out = (_convolve if primitive is convolve_p else _image_adjoint)(images[0], kernel, full)[None]
    else:
        out = primitive.bind(images, kernel[None], spec=full)
    return out.reshape(*image.shape[:-3], *out.shape[2:])


# --- The maps in plain lax, for images [N, H, W, C] and one kernel.


def _convolve(x: Array, kernel: Array, spec: _Spec) -> Array:
    strides, layout = (spec.stride, spec.stride), ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, strides, spec.pads, dimension_numbers=layout, precision=spec.precision)


def _image_adjoint(y: Array, kernel: Array, spec: _Spec) -> Array:
    return _adjoint(lambda x: _convolve(x, kernel, spec), (y.shape[0], *spec.image, kernel.shape[2]), y)


def _kernel_adjoint(x: Array, y: Array, spec: _Spec) -> Array:
    return _adjoint(lambda kernel: _convolve(x, kernel, spec), (*spec.kernel, x.shape[3], y.shape[3]), y)


def _adjoint(linear: Callable[[Array], Array], shape: tuple[Any, ...], y: Array) -> Array:
    """Return the adjoint of a linear map, applied to y; `shape` is that of the map's argument, a size of it perhaps a symbol."""
    return jax.linear_transpose(linear, jnp.zeros_like(y, shape=shape))(y)[0]


# --- The maps for CPUs. XLA's fast convolution needs NHWC, HWIO, NHWC without dilation or transposition; a barrier keeps the
# --- compiler from folding a transposition into it. A strided convolution becomes one of stride 1 over blocks of stride × stride
# --- pixels (space to depth), with the kernel zero-padded to whole blocks.

_FEW_CHANNELS = 4  # up to this many, a matrix product with the columns (im2col) is faster
_CHUNK_BYTES = 4 << 20  # of columns at a time in the kernel's gradient, to fit into the cache


def _convolve_cpu(x: Array, kernel: Array, spec: _Spec) -> Array:
    if x.shape[3] > _FEW_CHANNELS:
        return _convolve(x, lax.optimization_barrier(kernel), spec)
    columns = _columns(_image_blocks(x, spec), spec)
    return jnp.matmul(columns, _kernel_blocks(kernel, spec).reshape(-1, kernel.shape[3]), precision=spec.precision)


def _image_adjoint_cpu(y: Array, kernel: Array, spec: _Spec) -> Array:
    blocks = _kernel_blocks(kernel, spec)
    rows, columns = spec.block_kernel
    if kernel.shape[2] > _FEW_CHANNELS:  # a convolution with the flipped kernel
        flipped = lax.optimization_barrier(blocks[::-1, ::-1].swapaxes(2, 3))
        if spec.stride == 1:  # blocks are pixels, so those of the padding need not be computed
            sizes = zip(spec.image, spec.kernel, spec.output, spec.pads, strict=True)
            (top, bottom), (left, right) = ((k - 1 - low, n - o + low) for n, k, o, (low, _) in sizes)
            return _convolve(y, flipped, spec._replace(pads=((top, bottom), (left, right))))
        x = _convolve(y, flipped, spec._replace(stride=1, pads=((rows - 1, rows - 1), (columns - 1, columns - 1))))
    else:  # the sum over outputs of their contributions to each block
        by_output = lax.optimization_barrier(blocks.transpose(3, 0, 1, 2)).reshape(y.shape[3], -1)
        terms = jnp.matmul(y, by_output, precision=spec.precision).reshape(*y.shape[:3], rows, columns, -1)
        x = jnp.zeros((), y.dtype)
        for a, b in np.ndindex(rows, columns):
            x += jnp.pad(terms[:, :, :, a, b], ((0, 0), (a, rows - 1 - a), (b, columns - 1 - b), (0, 0)))
    return _adjoint(lambda image: _image_blocks(image, spec), (y.shape[0], *spec.image, kernel.shape[2]), x)


def _kernel_adjoint_cpu(x: Array, y: Array, spec: _Spec) -> Array:
    blocks = _image_blocks(x, spec)
    num_rows = math.prod(spec.block_kernel) * blocks.shape[3]  # of the kernel as a matrix
    at_least = min(x.shape[0], -(-y.dtype.itemsize * math.prod(y.shape[:3]) * num_rows // _CHUNK_BYTES))
    num_chunks = next(n for n in range(at_least, x.shape[0] + 1) if x.shape[0] % n == 0)

    def add_product(total: Array, chunk: tuple[Array, Array]) -> tuple[Array, None]:
        columns, y = (a.reshape(-1, a.shape[3]) for a in (_columns(chunk[0], spec), chunk[1]))
        # the narrower matrix first, because XLA transposes the first
        return total + lax.optimization_barrier(jnp.matmul(y.T, columns, precision=spec.precision)), None

    x_chunks, y_chunks = (a.reshape(num_chunks, -1, *a.shape[1:]) for a in (lax.optimization_barrier(blocks), y))
    total, _ = lax.scan(add_product, jnp.zeros((y.shape[3], num_rows), y.dtype), (x_chunks, y_chunks))
    as_blocks = total.T.reshape(*spec.block_kernel, -1, y.shape[3])
    return _adjoint(lambda kernel: _kernel_blocks(kernel, spec), (*spec.kernel, x.shape[3], y.shape[3]), as_blocks)


def _image_blocks(x: Array, spec: _Spec) -> Array:
    """Return the padded image as [N, rows of blocks, columns of blocks, s·s·C], cropped to the pixels used."""
    n, s, channels = x.shape[0], spec.stride, x.shape[3]
    rows, columns = (o + k - 1 for o, k in zip(spec.output, spec.block_kernel, strict=True))
    (top, _), (left, _) = spec.pads
    pads = ((0, 0, 0), (top, s * rows - spec.image[0] - top, 0), (left, s * columns - spec.image[1] - left, 0), (0, 0, 0))
    x = lax.pad(x, jnp.zeros((), x.dtype), pads).reshape(n, rows, s, columns, s, channels)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(n, rows, columns, s * s * channels)


def _kernel_blocks(kernel: Array, spec: _Spec) -> Array:
    """Return the kernel as [rows of blocks, columns of blocks, s·s·I, O]."""
    s, (rows, columns), (_, _, size_in, size_out) = spec.stride, spec.block_kernel, kernel.shape
    pads = ((0, s * rows - spec.kernel[0], 0), (0, s * columns - spec.kernel[1], 0), (0, 0, 0), (0, 0, 0))
    kernel = lax.pad(kernel, jnp.zeros((), kernel.dtype), pads).reshape(rows, s, columns, s, size_in, size_out)
    return kernel.transpose(0, 2, 1, 3, 4, 5).reshape(rows, columns, s * s * size_in, size_out)


def _columns(blocks: Array, spec: _Spec) -> Array:
    """Return the patch of each output (im2col), [N, P, Q, kernel rows · kernel columns · channels]."""
    (height, width), (rows, columns) = spec.output, spec.block_kernel
    shifted = [blocks[:, a : a + height, b : b + width] for a, b in np.ndindex(rows, columns)]
    return lax.optimization_barrier(jnp.concatenate(shifted, axis=3))


# --- The primitives: images [G, N, H, W, C], kernels [G, kh, kw, I, O]. `vmap` adds to N if the kernel is not mapped, else to G.


def _primitive(
    name: str, shape: Callable[..., tuple[int, ...]], plain: Callable[..., Array], on_cpu: Callable[..., Array]
) -> Primitive:
    primitive = Primitive(name)
    primitive.def_impl(jax.jit(primitive.bind, static_argnames="spec"))
    primitive.def_abstract_eval(lambda a, b, spec: jax.core.ShapedArray(shape(a.shape, b.shape, spec), a.dtype))
    at_once = _over_groups(plain, lambda one, a, b: jax.vmap(one)(a, b))
    in_turn = _over_groups(on_cpu, lambda one, a, b: lax.map(lambda arrays: one(*arrays), (a, b)))
    mlir.register_lowering(primitive, mlir.lower_fun(at_once, multiple_results=False))
    mlir.register_lowering(primitive, mlir.lower_fun(in_turn, multiple_results=False), platform="cpu")
    batching.primitive_batchers[primitive] = functools.partial(_batch, primitive)
    return primitive


def _over_groups(one: Callable[..., Array], over: Callable[..., Array]) -> Callable[..., Array]:
    def over_groups(a: Array, b: Array, spec: _Spec) -> Array:
        bound = functools.partial(one, spec=spec)
        return bound(a[0], b[0])[None] if a.shape[0] == 1 else over(bound, a, b)

    return over_groups


def _batch(
    primitive: Primitive, arrays: tuple[Array, Array], axes: tuple[int | None, int | None], spec: _Spec
) -> tuple[Array, int]:
    """Return the output and its mapped axis."""
    num = next(a.shape[axis] for a, axis in zip(arrays, axes, strict=True) if axis is not None)
    into = 1 if primitive is not kernel_adjoint_p and axes[1] is None else 0

    def merge(a: Array, axis: int | None) -> Array:
        if axis is None:
            if into == 1:  # the kernel
                return a
            a, axis = jnp.broadcast_to(a[None], (num, *a.shape)), 0
        a = jnp.moveaxis(a, axis, into)
        return a.reshape(*a.shape[:into], -1, *a.shape[into + 2 :])

    out = primitive.bind(*map(merge, arrays, axes), spec=spec)
    return out.reshape(*out.shape[:into], num, -1, *out.shape[into + 1 :]), into


convolve_p = _primitive("convolve", lambda x, k, spec: (*x[:2], *spec.output, k[4]), _convolve, _convolve_cpu)
image_adjoint_p = _primitive("image_adjoint", lambda y, k, spec: (*y[:2], *spec.image, k[3]), _image_adjoint, _image_adjoint_cpu)
kernel_adjoint_p = _primitive(
    "kernel_adjoint", lambda x, y, spec: (x[0], *spec.kernel, x[4], y[4]), _kernel_adjoint, _kernel_adjoint_cpu
)

ad.defbilinear(
    convolve_p,
    lambda y, x, kernel, spec: image_adjoint_p.bind(y, kernel, spec=spec),
    lambda y, x, kernel, spec: kernel_adjoint_p.bind(x, y, spec=spec),
)
ad.defbilinear(
    image_adjoint_p,
    lambda x, y, kernel, spec: convolve_p.bind(x, kernel, spec=spec),
    lambda x, y, kernel, spec: kernel_adjoint_p.bind(x, y, spec=spec),
)
ad.defbilinear(
    kernel_adjoint_p,
    lambda kernel, x, y, spec: image_adjoint_p.bind(y, kernel, spec=spec),
    lambda kernel, x, y, spec: convolve_p.bind(x, kernel, spec=spec),
)
