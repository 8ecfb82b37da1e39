"""Every bijection under test, at ordinary and at extreme parameters. Adding a row tests it for all that the contract promises."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax import flows
from gen_jax.nets import MLP, autoregressive_net
from gen_jax.types import Bijection

DIM = 5
POINT = jnp.array([0.4, -1.3, 0.9, 0.2, -0.6])
POINTS = jnp.stack([POINT, POINT[::-1], 3 * POINT, jnp.zeros(DIM)])
CONTEXT = jnp.array([0.5, -1.0, 2.0])


class Case(NamedTuple):
    """A bijection, points of its domain, a context, a change to the parameters of `init`, and how many derivatives it has."""

    bijection: Bijection
    xs: jax.Array = POINTS
    context: Any = None
    edit: Any = lambda params: params
    num_derivatives: int = 2

    @property
    def params(self) -> Any:
        """Parameters that are not those of the start, where many bijections are the identity: noise is added."""
        params = self.bijection.init(jax.random.key(1))
        leaves, treedef = jax.tree.flatten(params)
        keys = jax.random.split(jax.random.key(2), max(len(leaves), 1))
        noisy = [leaf + 0.5 * jax.random.normal(k, leaf.shape, leaf.dtype) for leaf, k in zip(leaves, keys, strict=False)]
        return self.edit(jax.tree.unflatten(treedef, noisy))


def scaled(factor: float):
    return lambda params: jax.tree.map(lambda leaf: factor * leaf, params)


def put(**values: Any):
    return lambda params: params | {name: jnp.broadcast_to(jnp.float32(v), params[name].shape) for name, v in values.items()}


def opposed(size: float):
    """w and u in opposite directions, so that softplus(wᵀu) underflows."""
    return lambda params: params | {"w": size * params["w"], "u": -size * params["w"]}


def aligned(size: float):
    """wᵀu = size, so that the slope at the origin is about size."""
    return lambda params: params | {"u": size * params["w"] / jnp.sum(params["w"] ** 2)}


def net(transformer: flows.Transformer) -> Any:
    return MLP((8,), (transformer.num_params, DIM - DIM // 2))


def made_net(transformer: flows.Transformer, dim: int = DIM) -> Any:
    return autoregressive_net(dim, (12,), transformer.num_params)


AFFINE, SPLINE = flows.affine(), flows.rational_quadratic_spline(num_bins=6, bound=3.0)
MAF = flows.masked_autoregressive(made_net(AFFINE), DIM, AFFINE)
COUPLING = flows.coupling(net(AFFINE), DIM, AFFINE)
# one object for all its rows, which are then compiled once
PLANAR, RADIAL, SYLVESTER = flows.planar(DIM), flows.radial(DIM), flows.orthogonal_sylvester(DIM, 3)
ELEMENTWISE, SPLINE_COUPLING = flows.elementwise_affine(DIM), flows.coupling(net(SPLINE), DIM, SPLINE)

CASES = {
    "planar": Case(PLANAR),
    "planar-large": Case(PLANAR, edit=scaled(30)),
    "planar-no-w": Case(PLANAR, edit=put(w=0), num_derivatives=0),
    "planar-tiny-w": Case(PLANAR, edit=put(w=1e-15), num_derivatives=0),
    "planar-all-but-flat": Case(PLANAR, edit=opposed(4)),
    "planar-softplus-underflows": Case(PLANAR, edit=opposed(20)),
    "planar-exactly-flat": Case(PLANAR, edit=lambda p: opposed(3)(p) | {"b": jnp.zeros(())}, num_derivatives=1),
    "planar-steep": Case(PLANAR, edit=aligned(30)),
    "planar-very-steep": Case(PLANAR, edit=aligned(300)),
    "planar-far-away": Case(PLANAR, 1e3 * POINTS),
    "planar-one-dimension": Case(flows.planar(1), POINT[:3, None]),
    "radial": Case(RADIAL),
    "radial-steep": Case(RADIAL, edit=put(log_alpha=-8, raw_s=3)),
    "radial-all-but-collapsed": Case(RADIAL, edit=put(raw_s=-12)),
    "radial-wide": Case(RADIAL, edit=put(log_alpha=8, raw_s=50)),
    "radial-at-its-centre": Case(RADIAL, edit=put(centre=0), num_derivatives=0),
    "radial-collapsed-at-its-centre": Case(RADIAL, edit=put(centre=0, raw_s=-100), num_derivatives=0),
    "radial-collapsed-and-steep": Case(RADIAL, edit=put(centre=0, raw_s=-100, log_alpha=-30), num_derivatives=0),
    "radial-far-away": Case(RADIAL, 1e3 * POINTS),
    "sylvester-orthogonal": Case(SYLVESTER),
    "sylvester-orthogonal-full": Case(flows.orthogonal_sylvester(DIM, DIM)),
    "sylvester-orthogonal-large": Case(SYLVESTER, edit=scaled(5)),
    "sylvester-exactly-flat": Case(flows.orthogonal_sylvester(DIM, 1), edit=put(outer=9, inner=-9, b=0), num_derivatives=1),
    "sylvester-amortised": Case(
        flows.amortise(SYLVESTER),
        context=100 * jax.random.normal(jax.random.key(3), (flows.num_params(SYLVESTER),)),
    ),
    "sylvester-householder": Case(flows.householder_sylvester(DIM, DIM, 4)),
    "sylvester-householder-large": Case(flows.householder_sylvester(DIM, 3, 4), edit=scaled(5)),
    "affine": Case(ELEMENTWISE),
    "affine-extreme": Case(ELEMENTWISE, edit=put(log_scale=-29, shift=10)),
    "affine-beyond-its-bound": Case(ELEMENTWISE, edit=put(log_scale=1e4), num_derivatives=0),
    "standardise": Case(flows.standardise(np.arange(5.0), np.array([0.1, 1.0, 20.0, 3.0, 1e3]))),
    "invert-standardise": Case(flows.invert(flows.standardise(np.arange(5.0), np.array([0.1, 1.0, 20.0, 3.0, 1e3])))),
    "logit": Case(flows.logit(), jax.nn.sigmoid(POINTS)),
    "logit-edges": Case(
        flows.logit(1e-3), jnp.array([[0.0, 1.0, 0.5, 1e-6, 1 - 1e-6], [1.0, 0.5, 0.2, 0.0, 1.0]]), num_derivatives=0
    ),
    "permutation": Case(flows.permutation([3, 0, 4, 1, 2])),
    "coupling-affine": Case(COUPLING),
    "coupling-affine-large": Case(COUPLING, edit=scaled(20)),
    "coupling-affine-context": Case(flows.coupling(net(AFFINE), DIM, AFFINE, context_dim=3), context=CONTEXT),
    "coupling-spline": Case(SPLINE_COUPLING, num_derivatives=1),
    "coupling-spline-large": Case(SPLINE_COUPLING, edit=scaled(5), num_derivatives=1),
    "coupling-spline-outside": Case(SPLINE_COUPLING, 10 * POINTS, num_derivatives=1),
    "coupling-spline-at-a-knot": Case(SPLINE_COUPLING, edit=scaled(0), num_derivatives=0),
    "coupling-spline-at-the-bound": Case(
        SPLINE_COUPLING,
        jnp.tile(jnp.array([[0.1, 0.2, 3.0, -3.0, 2.9999998], [0.1, 0.2, -2.9999998, 0.0, 3.0000002]]), (2, 1)),
        num_derivatives=0,
    ),
    "maf": Case(MAF),
    "maf-large": Case(MAF, edit=scaled(2)),
    "maf-context": Case(flows.masked_autoregressive(made_net(AFFINE), DIM, AFFINE, context_dim=3), context=CONTEXT),
    "maf-spline": Case(flows.masked_autoregressive(made_net(SPLINE), DIM, SPLINE), num_derivatives=1),
    "maf-one-dimension": Case(flows.masked_autoregressive(made_net(AFFINE, 1), 1, AFFINE), POINT[:3, None]),
    "iaf": Case(flows.inverse_autoregressive(made_net(AFFINE), DIM, AFFINE)),
    "iaf-context": Case(flows.inverse_autoregressive(made_net(AFFINE), DIM, AFFINE, context_dim=3), context=CONTEXT),
    "chain": Case(flows.chain(PLANAR, flows.reverse(DIM), COUPLING)),
    "stack": Case(flows.stack(flows.chain(COUPLING, flows.reverse(DIM)), 4)),
    "stack-maf": Case(flows.stack(flows.chain(MAF, flows.reverse(DIM)), 3)),
    "stack-deep": Case(flows.stack(PLANAR, 32)),
    "invert-planar": Case(flows.invert(PLANAR)),
    "invert-radial": Case(flows.invert(RADIAL)),
    "amortise": Case(
        flows.amortise(flows.stack(PLANAR, 2)),
        context=100 * jax.random.normal(jax.random.key(3), (flows.num_params(flows.stack(PLANAR, 2)),)),
    ),
}

# a row of each kind for the fast suite; `pytest -m slow` runs the others
FAST = {"planar-steep", "radial", "affine", "logit", "permutation", "maf"}


def rows(names: Any) -> list[Any]:
    return [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in names]


ROWS = rows(CASES)
# a row of each bijection, whatever its parameters are: the last of its names, which is a fast one if there is any
BIJECTIONS = rows({CASES[name].bijection: name for name in sorted(CASES, key=FAST.__contains__)}.values())
