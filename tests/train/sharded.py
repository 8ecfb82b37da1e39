"""Takes steps and gradients of models under each way of sharding that JAX has, in a process that has two devices.

XLA_FLAGS=--xla_force_host_platform_device_count=2 python -m tests.train.sharded

Prints by how much each differs from one device, a line of JSON for each model and way. "auto" is a step of training under `jit`
with a cut batch, on a mesh of that type; "explicit" the same on a mesh of the other type, through `jax.sharding.auto_axes`;
"shard_map" is the value and the gradient of a mean over examples, of which each device takes its share, with JAX's checks on.
"""

import functools
import json
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType, NamedSharding

from gen_jax import train
from gen_jax.data import Split
from gen_jax.densities import density_loss
from gen_jax.distributions import Normal
from gen_jax.evaluate import importance_weighted
from gen_jax.flows import flow_density
from gen_jax.made import ensemble
from gen_jax.nets import ConvDecoder, ConvEncoder
from gen_jax.types import BATCH_AXIS, Adversaries
from gen_jax.vae import elbo_loss, elbo_terms, gaussian_likelihood, gaussian_vae, log_weight
from tests.contracts import bijections, gans, mades, vaes

WHOLE, CUT, BATCH = jax.P(), jax.P(BATCH_AXIS), 4
VAES = (
    "von-mises-fisher",
    "beta",
    "conditional-prior",
    "ladder",
    "power-spherical",
    "flow-iaf",
    "mixture-learned",
    "vector-quantised",
)
FLOWS = ("maf", "stack", "sylvester-householder", "coupling-spline")
MADES = ("bernoulli", "normal-mixture")
GANS = ("points", "dcgan-penalised")
SGD = optax.sgd(0.1)


def rolled(x: Any) -> jax.Array:
    """Return examples that differ, so that a device that takes another's is found."""
    return jnp.stack([jnp.roll(x, i) for i in range(BATCH)])


def steps() -> dict[str, tuple[train.Step, Any, Any]]:
    """Return a step of training, a state and a batch, for each model."""
    found = {}  # those whose steps differ; all are among the functions of examples
    batch = lambda x, label=None: Split(rolled(x), None if label is None else jnp.stack([label] * BATCH))
    for name in VAES[:4]:
        case = vaes.CASES[name]
        variables = case.vae.init(jax.random.key(0), case.x, case.context)
        state = train.init_state(variables, SGD, jax.random.key(1))
        found[f"vae {name}"] = train.make_step(elbo_loss(case.vae), SGD), state, batch(case.x, case.context)
    for name in FLOWS[:2]:
        bijection, x = bijections.CASES[name].bijection, bijections.POINT
        density = flow_density(Normal(jnp.zeros_like(x), jnp.ones_like(x)), bijection)
        state = train.init_state(bijections.CASES[name].params, SGD, jax.random.key(1))
        found[f"flow {name}"] = train.make_step(density_loss(density), SGD), state, batch(x)
    for name in MADES[:1]:
        density = ensemble(mades.CASES[name].model, lambda index, name=name: mades.CASES[name].model.degrees)
        state = train.init_state(density.init(jax.random.key(0)), SGD, jax.random.key(1))
        found[f"made {name}"] = train.make_step(density_loss(density), SGD), state, batch(mades.CASES[name].x)
    for name in GANS:
        case, both = gans.CASES[name], Adversaries(SGD, SGD)
        state = train.init_state(case.gan.init(jax.random.key(0), case.batch.x[0]), both, jax.random.key(1))
        found[f"gan {name}"] = train.make_game_step(case.losses, both), state, case.batch
    return found


def of_examples() -> dict[str, tuple[Callable[..., Any], Any, Any]]:
    """Return a function of (params, key, x), parameters and examples, for each model and what is done with one example of it."""
    found: dict[str, Any] = {}
    for name in VAES:
        case = vaes.CASES[name]
        params = case.vae.init(jax.random.key(0), case.x, case.context)
        elbo = lambda p, k, x, case=case: elbo_terms(case.vae, p, k, x, case.context).elbo
        found[f"vae {name}"] = elbo, params, rolled(case.x)
        if name == "von-mises-fisher":
            weight = lambda p, k, x, case=case: log_weight(case.vae, p, k, x, case.context)
            of_one = lambda p, k, x, weight=weight: importance_weighted(lambda key: weight(p, key, x), k, 3, 2).log_prob
            found[f"weights {name}"] = of_one, params, rolled(case.x)
    x = jnp.linspace(0, 1, 64).reshape(8, 8, 1)
    conv = gaussian_vae(ConvEncoder((3, 2), (4,), (2, 2)), ConvDecoder((2, 3), (4,), x.shape), 2, gaussian_likelihood(0.5))
    of_conv = lambda p, k, x: elbo_terms(conv, p, k, x).elbo
    found["vae of convolutions"] = of_conv, conv.init(jax.random.key(0), x), rolled(x)
    for name in FLOWS:
        case = bijections.CASES[name]
        for way in ("forward_and_log_det", "inverse_and_log_det"):
            of_one = lambda p, k, x, apply=getattr(case.bijection, way): sum(jnp.sum(part) for part in apply(p, x))
            found[f"{way} {name}"] = of_one, case.params, case.xs
    for name in MADES:
        case = mades.CASES[name]
        log_prob = lambda p, k, x, model=case.model: model.log_prob(p, model.degrees, x)
        sample = lambda p, k, x, model=case.model: jnp.sum(model.sample(p, model.degrees, k))
        found |= {f"made {name}": (log_prob, case.params, rolled(case.x))}
        found |= {f"sample {name}": (sample, case.params, rolled(case.x))}
    return found


def mesh_of(kind: AxisType) -> jax.sharding.Mesh:
    """Return two devices along the axis of batches."""
    return jax.make_mesh((2,), (BATCH_AXIS,), (kind,))


def put(mesh: jax.sharding.Mesh, tree: Any, spec: Any) -> Any:
    """Return arrays that lie on the devices of a mesh."""
    return jax.device_put(tree, NamedSharding(mesh, spec))


def sharded_step(kind: AxisType, step: train.Step, state: Any, batch: Any) -> Any:
    """Return what a step returns for a batch that is cut over a mesh of a kind."""
    mesh = mesh_of(kind)
    with jax.set_mesh(mesh):
        if kind == AxisType.Explicit:
            step = jax.sharding.auto_axes(step, out_sharding=WHOLE)
        return jax.jit(step)(put(mesh, state, WHOLE), put(mesh, batch, CUT))


def mean_of(of_one: Callable[..., Any], params: Any, keys: Any, xs: Any) -> Any:
    """Return the mean over examples."""
    return jnp.mean(jax.vmap(of_one, (None, 0, 0))(params, keys, xs))


def mapped(of_one: Callable[..., Any], params: Any, keys: Any, xs: Any) -> Any:
    """Return the mean over examples and its gradient by `shard_map`."""

    def share(params: Any, keys: Any, xs: Any) -> Any:
        return jax.value_and_grad(lambda p: jax.lax.pmean(mean_of(of_one, p, keys, xs), BATCH_AXIS), allow_int=True)(params)

    return jax.jit(jax.shard_map(share, mesh=mesh_of(AxisType.Auto), in_specs=(WHOLE, CUT, CUT), out_specs=WHOLE))(
        params, keys, xs
    )


def apart(a: Any, b: Any) -> float:
    """Return the largest difference between numbers of two trees, relative to 1 + |b|."""

    def of_leaves(x: Any, y: Any) -> float:
        if not jnp.issubdtype(x.dtype, jnp.floating):
            return 0.0
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        return float(np.max(np.abs(x - y) / (1 + np.abs(y)), initial=0.0))

    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return float(np.max([of_leaves(x, y) for x, y in pairs]))  # NaN where there is one


def main() -> None:
    """Compare every model under every way."""

    def compare(name: str, want: Any, got: Callable[[], Any]) -> None:
        try:
            found: float | str = apart(got(), want)
        except Exception as error:  # told with the others
            found = f"{type(error).__name__}: {error}"[:400]
        print(json.dumps({name: found}), flush=True)

    for name, (step, state, batch) in steps().items():
        want = jax.jit(step)(state, batch)
        for kind in (AxisType.Auto, AxisType.Explicit):
            compare(f"{name}, {kind.name.lower()}", want, functools.partial(sharded_step, kind, step, state, batch))
    for name, (of_one, params, xs) in of_examples().items():
        keys = jax.random.split(jax.random.key(3), BATCH)
        want = jax.jit(jax.value_and_grad(functools.partial(mean_of, of_one), allow_int=True))(params, keys, xs)
        compare(f"{name}, shard_map", want, functools.partial(mapped, of_one, params, keys, xs))


if __name__ == "__main__":
    main()
