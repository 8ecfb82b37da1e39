"""A test of a bijection against its contract, for those of this library and for a user's own."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Float

from gen_jax.types import Array, Bijection, InputError, Params

Direction = Callable[..., tuple[Array, Array]]
"""(params, x, context) -> (y, log-det): `forward_and_log_det` or `inverse_and_log_det`."""

STEP = 1e-7  # of the finite differences: examples have to be this far inside the domain


class BijectionErrors(NamedTuple):
    """The largest errors that `check_bijection` found, each divided by the error allowed, so that 1 is the limit.

    Attributes:
        log_det: in float64, against the log-determinant of the Jacobian by automatic differentiation.
        round_trip: f⁻¹(f(x)) against x, and the sum of the two log-dets against 0.
        float32: float32 against float64.
        gradient: of Σ_i y_i + log-det with respect to parameters, example and context: in float64 against central differences,
            in float32 against float64.
        curvature: its second derivative along one direction through a `lax.map`, in float64: by forward over reverse mode and by
            reverse over reverse, against central differences of the gradient.
        vmap: `jax.vmap` against a loop.
        jit: `jax.jit` against eager execution.
    """

    log_det: float
    round_trip: float
    float32: float
    gradient: float
    curvature: float
    vmap: float
    jit: float


def check_bijection(
    bijection: Bijection,
    params: Params,
    xs: Float[Array, "N *event"],
    context: Any = None,
    *,
    tolerance: float = 1e-4,
    num_derivatives: int = 2,
) -> BijectionErrors:
    """Test a bijection in both directions at each of N examples; return the largest errors.

    The error allowed is the tolerance (in float64, its square) times a bound on how far relative rounding errors of the inputs
    move the result: for an output, ‖y‖ + ‖J‖ ‖x‖, with J the Jacobian. So the inverse of an almost flat map may be inaccurate.
    The error allowed in gradients is (100 + κ) times the tolerance, relative to the largest, with κ the condition number of J; in
    second derivatives, (100 + κ)² times, and ten times what two step sizes of the difference are apart.

    Args:
        bijection: the bijection. Its functions are compiled once for all parameters, and have to be hashable.
        params: its parameters, in float32.
        xs: two or more examples in the domain of `forward_and_log_det`; `inverse_and_log_det` is tested at their images.
        context: given to both directions.
        tolerance: the relative error allowed in float32.
        num_derivatives: how many derivatives, 0 to 2, the map and its log-det have at these parameters and examples: 1 for
            rational-quadratic splines, 0 at their knots, where gradients need only be finite.

    Raises:
        AssertionError: an error is above its limit; the message names each.
        InputError: there are fewer than two examples.
    """
    if len(xs) < 2:
        raise InputError(f"xs holds {len(xs)} examples: give two or more, [N, *event].")
    directions = bijection.forward_and_log_det, bijection.inverse_and_log_det
    xs64, errors = np.asarray(xs, np.float64), []
    for apply, inverse in (directions, directions[::-1]):
        found, xs, xs64 = _errors(apply, inverse, params, xs, xs64, context, tolerance, num_derivatives)
        errors += found
    largest = BijectionErrors(*(float(max(values)) for values in zip(*errors, strict=True)))
    broken = {name: value for name, value in largest._asdict().items() if not value <= 1}
    if broken:
        raise AssertionError(f"Errors above the limit of 1, at tolerance {tolerance:g}: {broken}")
    return largest


def _errors(
    apply: Direction,
    inverse: Direction,
    params: Params,
    xs: Array,
    xs64: Any,
    context: Any,
    tolerance: float,
    num_derivatives: int,
) -> tuple[list[BijectionErrors], Array, Array]:
    """Return the errors of one direction at each example, and the images of the examples in float32 and in float64."""
    evaluate = functools.partial(_evaluate_all, num_derivatives >= 2, apply, inverse)
    in_float32 = _evaluate_all(False, apply, inverse, params, xs, context)
    with jax.enable_x64(True):
        params64, context64 = _float64((params, context))
        in_float64 = evaluate(params64, _float64(xs), context64)  # at the float32 examples, to compare the two precisions
        exact = evaluate(params64, xs64, context64)
    batch = _apply_to_all(apply, params, xs, context)
    eager = apply(params, xs[0], context)  # one example, since eager execution compiles every operation separately

    def errors_at(i: int) -> BijectionErrors:
        x, x64, of32, of64, of_exact, of_batch = jax.tree.map(
            lambda leaf: np.asarray(leaf)[i], (xs, xs64, in_float32, in_float64, exact, batch)
        )
        limits, exact_limits = _limits(of64, x, tolerance), _limits(of_exact, x64, tolerance**2)
        if num_derivatives:
            slope, difference = of_exact.slopes
            gradient = _ratio((of32.gradient, slope), (of64.gradient, difference), 2 * (limits.gradient,))
            curvature = _ratio((of_exact.curvatures,), (of_exact.curvature_differences[0],), (exact_limits.curvature,))
        else:
            gradient = 0.0 if np.isfinite(of32.gradient).all() and np.isfinite(of64.gradient).all() else np.inf
            curvature = 0.0
        log_abs_det = np.linalg.slogdet(of_exact.jacobian.reshape(x.size, x.size))[1]
        return BijectionErrors(
            log_det=_ratio(of_exact.output[1:], (log_abs_det,), exact_limits.output[1:]),
            round_trip=max(
                _ratio(of32.back, (x, -of32.output[1]), limits.back),
                _ratio(of_exact.back, (x64, -of_exact.output[1]), exact_limits.back),
            ),
            float32=_ratio(of32.output, of64.output, limits.output),
            gradient=gradient,
            curvature=curvature,
            vmap=_ratio(of_batch, of32.output, limits.output),
            jit=_ratio(of32.output, eager, limits.output) if i == 0 else 0.0,
        )

    return [errors_at(i) for i in range(len(xs))], in_float32.output[0], exact.output[0]


class _Values(NamedTuple):
    output: tuple[Array, Array]  # f(x) and its log-det
    back: tuple[Array, Array]  # f⁻¹(f(x)) and its log-det
    gradient: Array  # of Σ_i y_i + log-det with respect to parameters, example and context
    jacobian: Any = None  # ∂y/∂x
    log_det_gradient: Any = None  # ∂(log-det)/∂x
    slopes: Any = None  # of Σ_i y_i + log-det along one direction: by the gradient, and by a central difference
    curvatures: Any = (0.0, 0.0)  # the second derivative along it, by forward over reverse mode and by reverse over reverse
    curvature_differences: Any = (0.0, 0.0)  # by central differences of the gradient, of two step sizes


# the functions are static, so that a bijection is compiled once for all its parameters
@functools.partial(jax.jit, static_argnums=0)
def _apply_to_all(apply: Direction, params: Params, xs: Array, context: Any) -> tuple[Array, Array]:
    return jax.vmap(apply, in_axes=(None, 0, None))(params, xs, context)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _evaluate_all(curved: bool, apply: Direction, inverse: Direction, params: Params, xs: Array, context: Any) -> _Values:
    return jax.lax.map(lambda x: _evaluate(curved, apply, inverse, params, x, context), xs)


def _evaluate(curved: bool, apply: Direction, inverse: Direction, params: Params, x: Array, context: Any) -> _Values:
    """Evaluate everything that is compared; from `jacobian` on in float64 only, curvatures if asked for."""
    flat, unravel = _ravel((params, x, context))

    def scalar(flat: Array) -> tuple[Array, Any]:
        y, log_det = apply(*unravel(flat))
        return jnp.sum(y) + log_det, (y, log_det)

    gradient, output = jax.grad(scalar, has_aux=True)(flat)
    values = _Values(output, inverse(params, output[0], context), gradient)
    if x.dtype != jnp.float64:
        return values
    jacobian, log_det_gradient = jax.jacobian(lambda x: apply(params, x, context))(x)
    step = STEP * jnp.cos(jnp.arange(flat.size) ** 2 + 1.0)  # an arbitrary direction
    slopes = jnp.dot(gradient, step) / STEP, (scalar(flat + step)[0] - scalar(flat - step)[0]) / (2 * STEP)
    values = values._replace(jacobian=jacobian, log_det_gradient=log_det_gradient, slopes=slopes)
    if not curved:
        return values
    curvatures, differences = _curvatures(lambda flat: scalar(flat)[0], flat, step / STEP)
    return values._replace(curvatures=curvatures, curvature_differences=differences)


def _curvatures(f: Callable[[Array], Array], x: Array, direction: Array) -> tuple[Array, Array]:
    """Return the second derivative along a direction: forward over reverse and reverse over reverse; and by two differences."""
    looped = jax.grad(lambda x: jax.lax.map(f, x[None])[0])
    along = lambda x: jnp.dot(looped(x), direction)
    by_derivatives = jnp.stack([jax.jvp(along, (x,), (direction,))[1], jnp.dot(jax.grad(along)(x), direction)])
    sizes = STEP * jnp.array([100.0, -100.0, 30.0, -30.0])
    slopes = jax.vmap(jax.grad(f))(x[None] + sizes[:, None] * direction[None]) @ direction
    return by_derivatives, (slopes[::2] - slopes[1::2]) / (2 * sizes[::2])


def _ravel(tree: Any) -> tuple[Array, Callable[[Array], Any]]:
    """Flatten the floats of a tree; integers, such as a label in the context, stay as they are."""
    leaves, treedef = jax.tree.flatten(tree)
    flat, unravel = ravel_pytree([leaf for leaf in leaves if _is_float(leaf)])

    def restore(flat: Array) -> Any:
        floats = iter(unravel(flat))
        return jax.tree.unflatten(treedef, [next(floats) if _is_float(leaf) else leaf for leaf in leaves])

    return flat, restore


class _Limits(NamedTuple):
    output: tuple[float, float]  # the error allowed in y, and in its log-det
    back: tuple[float, float]  # in f⁻¹(f(x)), and in its log-det
    gradient: float
    curvature: float


def _limits(values: _Values, x: Any, tolerance: float) -> _Limits:
    """Return the errors allowed, from values in float64."""
    if not np.isfinite(values.jacobian).all() or not np.isfinite(values.log_det_gradient).all():
        raise AssertionError("The gradient with respect to the example is not finite in float64.")
    size_x, size_y = 1 + float(np.abs(x).max()), 1 + float(np.abs(values.output[0]).max())
    singular = np.linalg.svd(values.jacobian.reshape(x.size, x.size), compute_uv=False)
    largest, smallest = float(singular[0]), max(float(singular[-1]), np.finfo(np.float64).tiny)
    slope = float(np.abs(values.log_det_gradient).sum())
    y, back, log_det = size_y + largest * size_x, size_x + size_y / smallest, x.size + slope * size_x
    conditioned = 100 + largest / smallest
    curvature, other = values.curvature_differences  # between them is about how wrong they are
    gradient = conditioned * (1 + np.abs(values.gradient).max(initial=0))
    return _Limits(
        (tolerance * y, tolerance * log_det),
        (tolerance * back, tolerance * (log_det + slope * back)),
        tolerance * gradient,
        tolerance * conditioned * (gradient + conditioned * np.abs(curvature)) + 10 * np.abs(curvature - other),
    )


def _ratio(values: Any, expected: Any, allowed: tuple[float, ...]) -> float:
    """Return the largest error of several arrays, each divided by the error allowed in it."""
    errors = [np.abs(np.float64(v) - np.float64(e)).max(initial=0) for v, e in zip(values, expected, strict=True)]
    return max(float(error / a) if np.isfinite(error) else np.inf for error, a in zip(errors, allowed, strict=True))


def _is_float(leaf: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(leaf), jnp.floating)


def _float64(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf, np.float64)) if _is_float(leaf) else leaf, tree)
