"""What holds for every GAN: shapes, whose parameters each loss moves, examples on their own in evaluation."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gen_jax import train
from gen_jax.gan import draw_latents
from gen_jax.types import Adversaries
from tests.contracts.gans import BATCH, CASES, CLASSES, ROWS
from tests.small import counting


@pytest.mark.parametrize("name", ROWS)
def test_contract(name, key):
    case = CASES[name]
    gan, (x, labels) = case.gan, case.batch
    variables = jax.jit(gan.init)(key, x[0])
    z = draw_latents(gan.prior, key, BATCH)

    @jax.jit
    def both(variables, z, labels):
        fake, after_one = gan.generate(*variables, key, z, labels)
        output, after_both = gan.discriminate(variables.params, after_one, fake, labels)
        return fake, output, after_both

    fake, output, state = both(variables, z, labels)
    assert fake.shape == x.shape
    assert output.logits.shape == (BATCH // gan.packing,)
    assert output.classes is None or output.classes.shape == (BATCH, CLASSES)
    chex.assert_trees_all_equal((fake, output, state), both(variables, z, labels))  # no hidden state
    # in evaluation nothing moves, and an example, or a pack, is on its own
    chex.assert_trees_all_equal(state, variables.state)
    for i in range(0, BATCH, gan.packing):
        some = slice(i, i + gan.packing)
        alone = both(variables, z[some], None if labels is None else labels[some])
        np.testing.assert_allclose(alone[0], fake[some], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(alone[1].logits[0], output.logits[i // gan.packing], rtol=1e-4, atol=1e-5)

    # a network whose learning rate is 0 keeps its parameters, bit by bit; the other's all move
    sgd = optax.inject_hyperparams(optax.sgd)
    optimizers, batch = Adversaries(sgd(0.1), sgd(0.1)), case.batch
    counted, traces = counting(train.make_game_step(case.losses, optimizers))
    step = jax.jit(counted)
    for rates in (Adversaries(0.1, 0.0), Adversaries(0.0, 0.1)):
        state = train.init_state(variables, optimizers, key)
        opt_state = Adversaries(
            *(o._replace(hyperparams={"learning_rate": jnp.float32(r)}) for o, r in zip(state.opt_state, rates, strict=True))
        )
        state, metrics = step(state._replace(opt_state=opt_state), batch)
        chex.assert_tree_all_finite((state.params, metrics))
        chex.assert_trees_all_equal_shapes_and_dtypes(state.state, variables.state)
        for before, after, rate in zip(variables.params, state.params, rates, strict=True):
            moved = {
                jax.tree_util.keystr(path): bool(jnp.any(a != b))
                for (path, a), b in zip(jax.tree.leaves_with_path(before), jax.tree.leaves(after), strict=True)
            }
            # a loss that is a difference of logits is none of their common offset
            offset = {"['DiscriminatorHead_0']['Dense_0']['bias']"} if case.loss in ("wasserstein", "hinge") else set()
            assert {path for path, has in moved.items() if not has} <= (offset if rate else set(moved)), (rate, moved)
            assert rate or not any(moved.values())
    _, metrics = step(state, jax.tree.map(lambda leaf: 30 * leaf if leaf.dtype == jnp.float32 else leaf, batch))
    chex.assert_tree_all_finite(metrics)  # far from where images are, too
    assert len(traces) == 1  # nothing was compiled a second time
