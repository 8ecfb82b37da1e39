"""Every bijection under test, at ordinary and at extreme parameters. Adding a row tests it for all that the contract promises."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax import flows
from gen_jax.nets import MLP, autoregressive_net
from gen_jax.types import Bijection

DIM = 5
POINT = jnp.array([0.4, -1.3, 0.9, 0.2, -0.6])
CONTEXT = jnp.array([0.5, -1.0, 2.0])


class Case(NamedTuple):
    """A bijection, a point of its domain, a context, and what is done to the parameters that `init` gives."""

    bijection: Bijection
    x: jax.Array = POINT
    context: Any = None
    edit: Any = lambda params: params

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


def net(transformer: flows.Transformer) -> Any:
    return MLP((8,), (transformer.num_params, DIM - DIM // 2))


def made_net(transformer: flows.Transformer, dim: int = DIM) -> Any:
    return autoregressive_net(dim, (12,), transformer.num_params)


AFFINE, SPLINE = flows.affine(), flows.rational_quadratic_spline(num_bins=6, bound=3.0)
MAF = flows.masked_autoregressive(made_net(AFFINE), DIM, AFFINE)
COUPLING = flows.coupling(net(AFFINE), DIM, AFFINE)

CASES = {
    "planar": Case(flows.planar(DIM)),
    "planar-large": Case(flows.planar(DIM), edit=scaled(30)),
    "planar-no-w": Case(flows.planar(DIM), edit=put(w=0)),
    "planar-tiny-w": Case(flows.planar(DIM), edit=put(w=1e-15)),
    "planar-all-but-flat": Case(flows.planar(DIM), edit=opposed(4)),
    "planar-softplus-underflows": Case(flows.planar(DIM), edit=opposed(20)),
    "planar-far-away": Case(flows.planar(DIM), 1e3 * POINT),
    "planar-one-dimension": Case(flows.planar(1), POINT[:1]),
    "radial": Case(flows.radial(DIM)),
    "radial-steep": Case(flows.radial(DIM), edit=put(log_alpha=-8, raw_s=3)),
    "radial-all-but-collapsed": Case(flows.radial(DIM), edit=put(raw_s=-12)),
    "radial-wide": Case(flows.radial(DIM), edit=put(log_alpha=8, raw_s=50)),
    "radial-at-its-centre": Case(flows.radial(DIM), jnp.zeros(DIM), edit=put(centre=0)),
    "radial-far-away": Case(flows.radial(DIM), 1e3 * POINT),
    "sylvester-orthogonal": Case(flows.orthogonal_sylvester(DIM, 3)),
    "sylvester-orthogonal-full": Case(flows.orthogonal_sylvester(DIM, DIM)),
    "sylvester-orthogonal-large": Case(flows.orthogonal_sylvester(DIM, 3), edit=scaled(5)),
    "sylvester-householder": Case(flows.householder_sylvester(DIM, DIM, 4)),
    "sylvester-householder-large": Case(flows.householder_sylvester(DIM, 3, 4), edit=scaled(5)),
    "affine": Case(flows.elementwise_affine(DIM)),
    "affine-extreme": Case(flows.elementwise_affine(DIM), edit=put(log_scale=-29, shift=10)),
    "affine-beyond-its-bound": Case(flows.elementwise_affine(DIM), edit=put(log_scale=1e4)),
    "standardise": Case(flows.standardise(np.arange(5.0), np.array([0.1, 1.0, 20.0, 3.0, 1e3]))),
    "logit": Case(flows.logit(), jax.nn.sigmoid(POINT)),
    "logit-edges": Case(flows.logit(1e-3), jnp.array([0.0, 1.0, 0.5, 1e-6, 1 - 1e-6])),
    "permutation": Case(flows.permutation([3, 0, 4, 1, 2])),
    "coupling-affine": Case(COUPLING),
    "coupling-affine-large": Case(COUPLING, edit=scaled(20)),
    "coupling-affine-context": Case(flows.coupling(net(AFFINE), DIM, AFFINE, context_dim=3), context=CONTEXT),
    "coupling-spline": Case(flows.coupling(net(SPLINE), DIM, SPLINE)),
    "coupling-spline-large": Case(flows.coupling(net(SPLINE), DIM, SPLINE), edit=scaled(5)),
    "coupling-spline-outside": Case(flows.coupling(net(SPLINE), DIM, SPLINE), 10 * POINT),
    "coupling-spline-at-a-knot": Case(flows.coupling(net(SPLINE), DIM, SPLINE), jnp.zeros(DIM), edit=scaled(0)),
    "coupling-spline-at-the-bound": Case(flows.coupling(net(SPLINE), DIM, SPLINE), jnp.array([0.1, 0.2, 3.0, -3.0, 2.9999998])),
    "maf": Case(MAF),
    "maf-large": Case(MAF, edit=scaled(2)),
    "maf-context": Case(flows.masked_autoregressive(made_net(AFFINE), DIM, AFFINE, context_dim=3), context=CONTEXT),
    "maf-spline": Case(flows.masked_autoregressive(made_net(SPLINE), DIM, SPLINE)),
    "maf-one-dimension": Case(flows.masked_autoregressive(made_net(AFFINE, 1), 1, AFFINE), POINT[:1]),
    "iaf": Case(flows.inverse_autoregressive(made_net(AFFINE), DIM, AFFINE)),
    "iaf-context": Case(flows.inverse_autoregressive(made_net(AFFINE), DIM, AFFINE, context_dim=3), context=CONTEXT),
    "chain": Case(flows.chain(flows.planar(DIM), flows.reverse(DIM), COUPLING)),
    "stack": Case(flows.stack(flows.chain(COUPLING, flows.reverse(DIM)), 4)),
    "stack-deep": Case(flows.stack(flows.planar(DIM), 32)),
    "invert-planar": Case(flows.invert(flows.planar(DIM))),
    "invert-radial": Case(flows.invert(flows.radial(DIM))),
    "amortise": Case(
        flows.amortise(flows.stack(flows.planar(DIM), 2)),
        context=jax.random.normal(jax.random.key(3), (flows.num_params(flows.stack(flows.planar(DIM), 2)),)),
    ),
}
