"""A check of what a bijection promises, for those of this library and for a user's own."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Float

from gen_jax.types import Array, Bijection, InputError, Params

STEP = 1e-7  # of the finite differences: examples need so much room in the domain


class BijectionErrors(NamedTuple):
    """The largest errors that `check_bijection` met, each as a share of what is allowed (1 is the limit).

    Attributes:
        log_det: in float64, against the log-determinant of the Jacobian by automatic differentiation.
        round_trip: f⁻¹(f(x)) against x, and the sum of the two log-dets against 0.
        float32: against float64.
        gradient: in float64, of the outputs' and the log-det's sum with respect to parameters, example and context together,
            against central differences; in float32, against float64.
        vmap: `jax.vmap` against a loop.
        jit: `jax.jit` against eager execution.
    """

    log_det: float
    round_trip: float
    float32: float
    gradient: float
    vmap: float
    jit: float


def check_bijection(
    bijection: Bijection,
    params: Params,
    xs: Float[Array, "N *event"],
    context: Any = None,
    *,
    tolerance: float = 1e-4,
    smooth: bool = True,
) -> BijectionErrors:
    """Hold a bijection to its contract, in both directions, at each of N examples; return the largest errors.

    An error is allowed to be the tolerance times what the numbers' size and the map's conditioning make of rounding: an output
    whose inputs are rounded by a share ε moves by ε ‖J‖ ‖x‖, with J the Jacobian. Where a map is all but flat, its inverse cannot
    be told from its rounded output, by any program. In float64 the tolerance is its square. Gradients are allowed (100 + κ) times
    the tolerance, as a share of the largest of them, with κ the condition number of J.

    Args:
        bijection: what is checked.
        params: its parameters, in float32.
        xs: examples in the domain of `forward_and_log_det`, two or more; `inverse_and_log_det` is checked at their images.
        context: handed to both.
        tolerance: the relative error allowed in float32.
        smooth: whether the map and its log-det are differentiable at these very parameters and examples; where they are not,
            such as at the knot of a spline, gradients need only be finite.

    Raises:
        AssertionError: a law is broken; the message names each.
        InputError: there are fewer than two examples.
    """
    if len(xs) < 2:
        raise InputError(f"xs holds {len(xs)} examples: give two or more, [N, *event].")
    forward, inverse = bijection.forward_and_log_det, bijection.inverse_and_log_det
    images = lambda params, xs, context: jax.lax.map(lambda x: forward(params, x, context)[0], xs)
    ys = jax.jit(images)(params, xs, context)
    with jax.enable_x64(True):
        xs64 = _float64(xs)
        ys64 = jax.jit(images)(*_float64((params, xs, context)))
    errors = [
        *_errors(forward, inverse, params, xs, xs64, context, tolerance, smooth),
        *_errors(inverse, forward, params, ys, ys64, context, tolerance, smooth),
    ]
    largest = BijectionErrors(*(float(max(values)) for values in zip(*errors, strict=True)))
    broken = {name: value for name, value in largest._asdict().items() if not value <= 1}
    if broken:
        raise AssertionError(f"Errors beyond what is allowed (1 is the limit, at tolerance {tolerance:g}): {broken}")
    return largest


def _errors(
    apply: Callable[..., Any],
    inverse: Callable[..., Any],
    params: Params,
    xs: Array,
    xs64: Array,
    context: Any,
    tolerance: float,
    smooth: bool,
) -> list[BijectionErrors]:
    """Check one direction at examples in float32 and, for the laws that hold exactly, at others in float64."""
    compiled = jax.jit(lambda p, x, c: _values_and_gradients(apply, inverse, p, x, c))
    batch = jax.jit(jax.vmap(apply, in_axes=(None, 0, None)))(params, xs, context)
    with jax.enable_x64(True):
        compiled64 = jax.jit(
            lambda p, x, c: (
                _values_and_gradients(apply, inverse, p, x, c),
                _jacobians(apply, p, x, c),
                _difference(apply, p, x, c),
            )
        )
        params64, context64 = _float64((params, context))

    def at(i: int) -> BijectionErrors:
        x = xs[i]
        values = compiled(params, x, context)
        with jax.enable_x64(True):
            # at the float32 example itself, for the comparison of the two precisions
            same, jacobians, _ = compiled64(params64, _float64(x), context64)
            norms = _norms(jacobians, _float64(x), same.output[0])
            exact, jacobians, slopes = compiled64(params64, xs64[i], context64)
            exact_norms = _norms(jacobians, xs64[i], exact.output[0])

        def apart(pair: Any, wanted: Any, size: float, size_of_log_det: float) -> float:
            """Compare two pairs (y, log-det)."""
            return max(_share(pair[0], wanted[0], size), _share(pair[1], wanted[1], size_of_log_det))

        def round_trip(values: _Values, x: Array, norms: _Norms, tolerance: float) -> float:
            (back, back_log_det), log_det = values.back, values.output[1]
            return apart((back, -back_log_det), (x, log_det), tolerance * norms.back, tolerance * norms.back_log_det)

        def gradient(value: Array, wanted: Array, slope: Array, wanted_slope: Array) -> float:
            if not smooth:
                return 0.0 if np.isfinite(value).all() and np.isfinite(wanted).all() else np.inf
            allowed = (100 + norms.condition) * tolerance * (1 + np.abs(wanted).max(initial=0))
            return max(_share(value, wanted, allowed), _share(slope, wanted_slope, allowed))

        here = (tolerance * norms.there, tolerance * norms.log_det)
        reference = np.linalg.slogdet(np.asarray(jacobians[0]))[1]
        return BijectionErrors(
            log_det=_share(exact.output[1], reference, tolerance**2 * exact_norms.log_det),
            round_trip=max(round_trip(values, x, norms, tolerance), round_trip(exact, xs64[i], exact_norms, tolerance**2)),
            float32=apart(values.output, same.output, *here),
            gradient=gradient(values.gradient, same.gradient, *slopes),
            vmap=apart((batch[0][i], batch[1][i]), values.output, *here),
            # one example, since every operation of eager execution compiles by itself
            jit=apart(values.output, apply(params, x, context), *here) if i == 0 else 0.0,
        )

    return [at(i) for i in range(len(xs))]


class _Values(NamedTuple):
    output: tuple[Array, Array]
    back: tuple[Array, Array]
    gradient: Array


def _values_and_gradients(apply: Callable[..., Any], inverse: Callable[..., Any], params: Any, x: Array, context: Any) -> _Values:
    """Return f(x), f⁻¹(f(x)) and the gradient of a scalar with respect to everything, compiled together to save time."""
    flat, unravel = _ravel((params, x, context))

    def scalar(flat: Array) -> tuple[Array, Any]:
        y, log_det = apply(*unravel(flat))
        return jnp.sum(y) + log_det, (y, log_det)

    gradient, output = jax.grad(scalar, has_aux=True)(flat)
    return _Values(output, inverse(params, output[0], context), gradient)


def _jacobians(apply: Callable[..., Any], params: Any, x: Array, context: Any) -> tuple[Array, Array]:
    """Return ∂y/∂x and ∂(log-det)/∂x for the example flattened."""

    def flat(flat_x: Array) -> tuple[Array, Array]:
        y, log_det = apply(params, flat_x.reshape(x.shape), context)
        return jnp.ravel(y), log_det

    return jax.jacobian(flat)(jnp.ravel(x))


def _difference(apply: Callable[..., Any], params: Any, x: Array, context: Any) -> tuple[Array, Array]:
    """Return the derivative of the scalar along one direction, by automatic differentiation and by a central difference."""
    flat, unravel = _ravel((params, x, context))
    direction = jnp.cos(jnp.arange(flat.size) ** 2 + 1.0)  # some direction

    def along(t: Array) -> Array:
        y, log_det = apply(*unravel(flat + t * direction))
        return jnp.sum(y) + log_det

    return jax.grad(along)(jnp.zeros(())), (along(jnp.float64(STEP)) - along(jnp.float64(-STEP))) / (2 * STEP)


def _ravel(tree: Any) -> tuple[Array, Callable[[Array], Any]]:
    """Flatten the real numbers of a tree; integers, such as a label in the context, stay as they are."""
    leaves, treedef = jax.tree.flatten(tree)
    is_real = [jnp.issubdtype(jnp.result_type(leaf), jnp.floating) for leaf in leaves]
    flat, unravel = ravel_pytree([leaf for leaf, real in zip(leaves, is_real, strict=True) if real])

    def restore(flat: Array) -> Any:
        reals = iter(unravel(flat))
        return jax.tree.unflatten(treedef, [next(reals) if real else leaf for leaf, real in zip(leaves, is_real, strict=True)])

    return flat, restore


class _Norms(NamedTuple):
    """How far rounding may move the results, as multiples of a relative error."""

    there: float
    back: float
    log_det: float
    back_log_det: float
    condition: float


def _norms(jacobians: tuple[Array, Array], x: Array, y: Array) -> _Norms:
    jacobian, log_det_slope = map(np.asarray, jacobians)
    if not np.isfinite(jacobian).all() or not np.isfinite(log_det_slope).all():
        raise AssertionError("The gradient with respect to the example is not finite in float64.")
    size_x, size_y = float(1 + jnp.abs(x).max()), float(1 + jnp.abs(y).max())
    singular = np.linalg.svd(jacobian, compute_uv=False)
    slope = float(np.abs(log_det_slope).sum())
    largest, least = float(singular[0]), max(float(singular[-1]), np.finfo(np.float64).tiny)
    back = size_x + size_y / least
    log_det = x.size + slope * size_x
    return _Norms(size_y + largest * size_x, back, log_det, log_det + slope * back, largest / least)


def _share(value: Any, wanted: Any, allowed: float) -> float:
    """Return the largest error as a share of what is allowed."""
    error = np.abs(np.asarray(value, np.float64) - np.asarray(wanted, np.float64)).max(initial=0)
    return float(error / allowed) if np.isfinite(error) else np.inf


def _float64(tree: Any) -> Any:
    def convert(leaf: Any) -> Any:
        return jnp.asarray(np.asarray(leaf, np.float64)) if jnp.issubdtype(jnp.result_type(leaf), jnp.floating) else leaf

    return jax.tree.map(convert, tree)
