"""Samples with implicit derivatives in the parameter of their distribution (Figurnov et al. 2018, arXiv:1805.08498)."""

import functools
from collections.abc import Callable

import jax
from jaxtyping import Float

from gen_jax.types import Array, InputError

Slope = Callable[[Array, Array], Array]


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def with_implicit_derivative(
    slope: Slope, sample: Float[Array, "*event"], parameter: Float[Array, "*event"]
) -> Float[Array, "*event"]:
    """Return the sample x, whose derivative in the parameter a is dx/da = slope(x, a) = −(∂F/∂a) / p, F its CDF, p its density.

    Higher derivatives are those of the slope along x(a). JAX drops such a rule for second derivatives of a `lax.scan` or
    `lax.map` whose first one was in reverse. There, an error is raised.
    """
    return _undifferentiable(sample, parameter)


@with_implicit_derivative.defjvp
def _with_implicit_derivative_jvp(
    slope: Slope, primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[Array, Array]:
    parameter = primals[1]
    sample = with_implicit_derivative(slope, *primals)  # not the bare sample, which would end the chain of derivatives
    return sample, tangents[0] + slope(sample, parameter) * tangents[1]


@jax.custom_vjp
def _undifferentiable(sample: Array, parameter: Array) -> Array:
    """Return the sample; a `custom_vjp`, since JAX drops no such rule."""
    del parameter
    return sample


def _forward(sample: Array, parameter: Array) -> tuple[Array, None]:
    return sample, None


def _backward(_: None, gradient: Array) -> tuple[Array, Array]:
    raise InputError(
        "A second derivative of a sample with implicit gradients inside of lax.scan or lax.map, whose first derivative is in "
        "reverse, is not supported by JAX: use jax.vmap in place of the loop, or jax.jacfwd for the first derivative."
    )


_undifferentiable.defvjp(_forward, _backward)
