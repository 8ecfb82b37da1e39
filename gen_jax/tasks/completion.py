"""Completing examples with a part missing."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax import plots
from gen_jax.data import DataView, Split
from gen_jax.evaluate import example_keys, map_examples
from gen_jax.tasks.task import AT_ONCE, Outcome, Subject, check_choice, check_count, compiled, first, refuse
from gen_jax.types import VAE, Array, DensityModel, InputError, Key, Params, context_of
from gen_jax.vae import Chain, ChainCompletion, CodePrior, complete_by_chain

DEFAULT_STEPS = 500  # of a chain
Observed = Literal["upper", "lower", "left", "right", "random"]


def complete(
    model: Any,
    params: Params,
    key: Key,
    examples: Split,
    observed: Array | np.ndarray,
    num: int = 4,
    *,
    num_steps: int | None = None,
    chain: Chain | None = None,
    view: DataView = DataView(),
) -> Any:
    """Return `num` completions of each stored example: a `made.Completion` or `vae.ChainCompletion` of arrays [num, N, ...].

    A MADE draws what is missing in its order, a VAE by a Markov chain of `num_steps` steps (by default 500, "metropolis"; see
    `vae.complete_by_chain`). `observed` has the shape of one example and is True where it is known; the values in the other
    places are ignored.

    Raises:
        InputError: the model cannot complete examples, an option is of the other kind of model, or `observed` is True everywhere
            or nowhere, or of another shape than an example.
    """
    check_count("num", num)
    known = jnp.asarray(observed)
    shape = jax.eval_shape(view.example, jax.ShapeDtypeStruct(examples.x.shape[1:], examples.x.dtype)).shape
    if known.shape != shape or known.dtype != bool or known.all() or not known.any():
        raise InputError(
            f"observed is of shape {known.shape} and {known.dtype}, {int(known.sum())} of it true: give booleans of shape "
            f"{shape}, some true and some false."
        )
    keys = jax.random.split(key, num)
    if isinstance(model, DensityModel) and model.complete is not None:
        if num_steps is not None or chain is not None:
            raise InputError("num_steps and chain are of the Markov chain of a VAE, and a MADE takes none: leave them out.")
        return _complete(model, view, params, keys, examples.on_device().x, known)
    if not isinstance(model, VAE) or isinstance(model.prior(params, _label(model)), CodePrior):
        raise refuse(model, "complete examples", "a MADE, or a VAE whose posterior has a density")
    num_steps, chain = DEFAULT_STEPS if num_steps is None else num_steps, chain or "metropolis"
    check_count("num_steps", num_steps)
    check_choice("chain", chain, Chain)
    return _by_chain(model, view, params, keys, examples.on_device(), known, num=num_steps, chain=chain)


def _label(vae: VAE) -> Any:
    return None if vae.num_classes is None else jnp.int32(0)


@compiled
def _by_chain(
    vae: VAE, view: DataView, params: Params, keys: Array, examples: Split, observed: Array, num: int, chain: Chain
) -> ChainCompletion:
    def of_key(key: Key) -> ChainCompletion:
        def one(params: Params, key: Key, example: Split) -> ChainCompletion:
            context = context_of(vae, example.labels)
            return complete_by_chain(vae, params, key, view.example(example.x), observed, num, chain, context)

        return map_examples(one, params, example_keys(key, len(examples.x)), examples, AT_ONCE)

    found = jax.lax.map(of_key, keys)
    return found._replace(x=view.from_model(found.x))


@compiled
def _complete(model: Any, view: DataView, params: Params, keys: Array, x: Array, observed: Array) -> Any:
    one = lambda key, x: model.complete(params, key, x, observed)
    found = jax.vmap(jax.vmap(one, in_axes=(None, 0)), in_axes=(0, None))(keys, jax.vmap(view.example)(x))
    return found._replace(x=view.from_model(found.x))


def observed_part(which: Observed, shape: tuple[int, ...], key: Key) -> np.ndarray:
    """Return which values of an example are known: half of its rows or columns, or each with probability ½."""
    check_choice("observed", which, Observed)
    if which == "random" or len(shape) == 0:
        return np.asarray(jax.random.bernoulli(key, 0.5, shape))
    axis = 1 if which in ("left", "right") and len(shape) > 1 else 0
    place = np.arange(shape[axis]).reshape(-1, *(1,) * (len(shape) - axis - 1))
    known = place < shape[axis] // 2
    return np.broadcast_to(known if which in ("upper", "left") else ~known, shape)


def perform(
    subject: Subject,
    *,
    num: int = 10,
    draws: int = 4,
    observed: Observed = "upper",
    num_steps: int | None = None,
    chain: Chain | None = None,
    seed: int = 0,
) -> Outcome:
    """Hide a part of test examples and draw it given the rest, with a MADE or a VAE.

    Args:
        subject: the run.
        num: Number of test examples, from the first.
        draws: Completions of each example.
        observed: What the model is given: the upper, lower, left or right half, or a random half.
        num_steps: Of a VAE: steps of its Markov chain, by default 500.
        chain: Of a VAE: metropolis, right in the limit, or gibbs, which is wrong by as much as q(z|x) is; by default metropolis.
        seed: Seed of the draw.
    """
    check_count("num", num)
    examples = first(subject.load().test, num)
    x = jax.vmap(subject.view.read)(examples.x)
    draw_key, mask_key = jax.random.split(subject.key)
    known = observed_part(observed, x.shape[1:], mask_key)
    found = subject._replace(key=draw_key).call(complete, examples, known, draws, num_steps=num_steps, chain=chain)
    if isinstance(found, ChainCompletion):
        accepted = f"{float(found.acceptance.mean()):.0%} of the proposals accepted"
        how = f"{chain or 'metropolis'}, {num_steps or DEFAULT_STEPS} steps, {accepted}"
    else:
        mask, exact, unused = int(found.mask[0, 0]), bool(found.exact[0, 0]), int(found.unused[0, 0])  # equal for all of them
        how = f"exact under mask {mask}" if exact else f"not exact: mask {mask} has {unused} pairs out of order"
    rows = jnp.concatenate([x[None], jnp.where(known[None], x, 0.5)[None], found.x]).reshape(-1, *x.shape[1:])
    title = f"test examples; the observed part ({observed}); completions\n({how})"
    figures = {"completions": plots.image_grid(rows, len(x), title)}
    return Outcome(f"completions-{observed}-{seed}", how, figures, np.asarray(found.x))
