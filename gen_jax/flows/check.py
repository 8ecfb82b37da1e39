"""A check of what a bijection promises, for those of this library and for a user's own."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.types import Array, Bijection, Params


class BijectionErrors(NamedTuple):
    """The largest errors that `check_bijection` met, each as a share of what is allowed (1 is the limit).

    Attributes:
        log_det: in float64, against the log-determinant of the Jacobian by automatic differentiation, of both directions.
        round_trip: f⁻¹(f(x)) against x and f(f⁻¹(x)) against x, and the sum of the two log-dets against 0.
        float32: against float64, of both directions.
        gradient: with respect to parameters, example and context: 0 where all are finite, else infinity.
        vmap: `jax.vmap` against a loop.
        jit: `jax.jit` against eager execution.
        recompiled: 0 where a second call with other values compiles nothing, else infinity.
    """

    log_det: float
    round_trip: float
    float32: float
    gradient: float
    vmap: float
    jit: float
    recompiled: float


def check_bijection(
    bijection: Bijection, params: Params, x: Array, context: Any = None, *, tolerance: float = 1e-4
) -> BijectionErrors:
    """Hold a bijection to its contract at one example x, and return the errors.

    An error is allowed to be the tolerance times what the numbers' size and the map's conditioning make of rounding: an output
    whose inputs are rounded by a share ε moves by ε ‖J‖ ‖x‖, with J the Jacobian. Where a map is all but flat, its inverse cannot
    be told from its rounded output, by any program. In float64 the tolerance is its square.

    Args:
        bijection: what is checked.
        params: its parameters, in float32.
        x: an example in the domain of `forward_and_log_det`; `inverse_and_log_det` is checked at its image.
        context: handed to both.
        tolerance: the relative error allowed in float32.

    Raises:
        AssertionError: a law is broken; the message names each.
    """
    forward = _Direction(bijection.forward_and_log_det, bijection.inverse_and_log_det)
    y = forward.apply(params, x, context)[0]
    with jax.enable_x64(True):
        y64 = forward.apply(*_float64((params, x, context)))[0]
    pairs = [
        _errors(direction, params, at, at64, context, tolerance)
        for direction, at, at64 in ((forward, x, None), (_Direction(forward.inverse, forward.apply), y, y64))
    ]
    errors = BijectionErrors(*(float(max(values)) for values in zip(*pairs, strict=True)))
    broken = {name: value for name, value in errors._asdict().items() if not value <= 1}
    if broken:
        raise AssertionError(f"Errors beyond what is allowed (1 is the limit, at tolerance {tolerance:g}): {broken}")
    return errors


class _Direction(NamedTuple):
    apply: Any
    inverse: Any


def _errors(
    direction: _Direction, params: Params, x: Array, x64: Array | None, context: Any, tolerance: float
) -> BijectionErrors:
    traces = []

    def everything(params: Params, x: Array, context: Any) -> tuple[Any, Any, Any]:
        """Return f(x), f⁻¹(f(x)) and the gradients, compiled together to save time."""
        traces.append(1)

        def scalar(params: Params, x: Array, context: Any) -> tuple[Array, Any]:
            y, log_det = direction.apply(params, x, context)
            return jnp.sum(y) + log_det, (y, log_det)

        # integer leaves, such as a label in the context, have no gradient
        gradients, (y, log_det) = jax.grad(scalar, argnums=(0, 1, 2), allow_int=True, has_aux=True)(params, x, context)
        return (y, log_det), direction.inverse(params, y, context), gradients

    def everything64(params: Params, x: Array, context: Any) -> tuple[Any, Any, Any]:
        def flat(flat_x: Array) -> tuple[Any, Any]:
            y, log_det = direction.apply(params, flat_x.reshape(x.shape), context)
            return (jnp.ravel(y), log_det), (y, log_det)

        jacobians, (y, log_det) = jax.jacobian(flat, has_aux=True)(jnp.ravel(x))
        return (y, log_det), direction.inverse(params, y, context), jacobians

    compiled = jax.jit(everything)
    (y, log_det), (back, back_log_det), gradients = compiled(params, x, context)
    other = compiled(params, 0.5 * x, context)[0]
    recompiled = 0.0 if len(traces) == 1 else np.inf
    examples = jnp.stack([x, 0.5 * x])
    batch = jax.jit(jax.vmap(direction.apply, in_axes=(None, 0, None)))(params, examples, context)
    with jax.enable_x64(True):
        compiled64 = jax.jit(everything64)
        params64, start64, context64 = _float64((params, x, context))
        # at the float32 example itself, for the comparison of the two precisions
        (y64, log_det64), (back64, back_log_det64), (jacobian, log_det_slope) = compiled64(params64, start64, context64)
        wanted = (y64, log_det64)
        if x64 is None:
            x64 = start64
        else:
            (y64, log_det64), (back64, back_log_det64), (jacobian, log_det_slope) = compiled64(params64, x64, context64)
    if not np.isfinite(jacobian).all() or not np.isfinite(log_det_slope).all():
        raise AssertionError("The gradient with respect to the example is not finite in float64.")
    reference = np.linalg.slogdet(np.asarray(jacobian))[1]
    norms = _Norms(*map(np.asarray, (jacobian, log_det_slope, x64, y64)))

    def apart(pair: Any, wanted: Any, norm: float, norm_of_log_det: float, tolerance: float = tolerance) -> float:
        """Compare two pairs (y, log-det)."""
        return max(_share(pair[0], wanted[0], tolerance * norm), _share(pair[1], wanted[1], tolerance * norm_of_log_det))

    finite = all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients) if jnp.issubdtype(leaf.dtype, jnp.floating))
    return BijectionErrors(
        log_det=_share(log_det64, reference, tolerance**2 * norms.log_det),
        round_trip=max(
            apart((back64, -back_log_det64), (x64, log_det64), norms.back, norms.back_log_det, tolerance**2),
            apart((back, -back_log_det), (x, log_det), norms.back, norms.back_log_det),
        ),
        float32=apart((y, log_det), wanted, norms.there, norms.log_det),
        gradient=0.0 if finite else np.inf,
        vmap=max(
            apart((batch[0][i], batch[1][i]), one, norms.there, norms.log_det) for i, one in enumerate([(y, log_det), other])
        ),
        jit=apart((y, log_det), direction.apply(params, x, context), norms.there, norms.log_det),
        recompiled=recompiled,
    )


class _Norms:
    """How far rounding may move the results, as multiples of a relative error."""

    def __init__(self, jacobian: np.ndarray, log_det_slope: np.ndarray, x: np.ndarray, y: np.ndarray):
        size_x, size_y = 1 + np.abs(x).max(), 1 + np.abs(y).max()
        singular = np.linalg.svd(jacobian, compute_uv=False)
        self.there = size_y + singular[0] * size_x
        self.back = size_x + size_y / max(singular[-1], np.finfo(np.float64).tiny)
        self.log_det = x.size + np.abs(log_det_slope).sum() * size_x
        self.back_log_det = self.log_det + np.abs(log_det_slope).sum() * self.back


def _share(value: Any, wanted: Any, allowed: float) -> float:
    """Return the largest error as a share of what is allowed."""
    error = np.abs(np.asarray(value, np.float64) - np.asarray(wanted, np.float64)).max()
    return float(error / allowed) if np.isfinite(error) else np.inf


def _float64(tree: Any) -> Any:
    def convert(leaf: Any) -> Any:
        return jnp.asarray(np.asarray(leaf, np.float64)) if jnp.issubdtype(jnp.result_type(leaf), jnp.floating) else leaf

    return jax.tree.map(convert, tree)
