"""The ELBO taken apart, of a VAE with a linear decoder, whose log p(x) and best posteriors are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax import tasks
from gen_jax.data import Dataset, DataView, Split
from gen_jax.distributions import Normal
from gen_jax.tasks.bound import perform
from tests.contracts.vaes import linear_gaussian_vae
from tests.tasks.test_tasks import DATA, FAMILIES, IMAGE, KEY, subject_of

EXACT, MARGINAL = linear_gaussian_vae()
PARAMS = EXACT.init(KEY, MARGINAL.mean)


def diagonal(moved: float):
    """The VAE with a third latent that nothing depends on, and q of independent dimensions, moved from its best mean."""

    def encode(params, x, context=None):
        full = EXACT.encode(params, x)
        precision = jnp.linalg.inv(full.scale_tril @ full.scale_tril.T)
        best = Normal(full.loc + moved, 1 / jnp.sqrt(jnp.diagonal(precision)))
        return Normal(jnp.append(best.loc, 0.0), jnp.append(best.scale, 1.0))

    return EXACT._replace(
        encode=encode,
        decode=lambda params, z, context=None: EXACT.decode(params, z[:2]),
        prior=lambda params, context=None: Normal(jnp.zeros(3), jnp.ones(3)),
    )


X = Split(np.asarray(jax.vmap(MARGINAL.sample)(jax.random.split(jax.random.key(1), 60))))


@pytest.mark.slow
def test_the_task_finds_what_is_known_of_each_part():
    model, done = diagonal(moved=0.3), []
    data = Dataset(X, X, X, name="linear")
    report = lambda *at: done.append(at)
    subject = tasks.Subject(model, PARAMS, DataView(), KEY, lambda *_, **__: data, "linear", report=report)
    options = {"num": 30, "num_rate": 60, "num_steps": 300, "num_importance_samples": 2000}
    found = perform(subject, **options)
    numbers, table = found.summary, found.table
    assert (found.name, found.text) == ("bound-test", "2 of 3 latents are active")
    assert list(numbers["active_latents"]) in (["0", "1"], ["1", "0"])
    exact = np.asarray(jax.vmap(MARGINAL.log_prob)(X.x[table["index"]]))
    np.testing.assert_allclose(table["log_prob"], exact, atol=0.15)
    moved = jax.vmap(lambda x: jnp.sum((0.3 / model.encode(PARAMS, x).scale[:2]) ** 2) / 2)(X.x[:1])[0]
    whole = jnp.linalg.inv(EXACT.encode(PARAMS, X.x[0]).scale_tril @ EXACT.encode(PARAMS, X.x[0]).scale_tril.T)
    cross = 0.09 * whole[0, 1]  # the quadratic form of the move, beyond its diagonal
    np.testing.assert_allclose(numbers["gap_amortisation"], moved + cross, rtol=0.1)
    correlation = whole[0, 1] ** 2 / (whole[0, 0] * whole[1, 1])
    np.testing.assert_allclose(numbers["gap_approximation"], -0.5 * np.log(1 - correlation), atol=0.05)
    rate = numbers["mutual_information"] + numbers["total_correlation"] + numbers["dimension_wise_kl"]
    assert abs(rate - numbers["rate"]) < 0.6  # one draw of each of sixty
    assert numbers["mutual_information"] <= np.log(60)
    assert abs(sum(latent["nats"] for latent in numbers["active_latents"].values()) - numbers["rate"]) < 1e-4
    assert done == [(20, 30), (30, 30)]
    assert set(found.figures) == {"bound"}
    assert perform(subject, **options).summary == numbers


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("VAE on a sphere", "hierarchical VAE")]


@pytest.mark.parametrize("family", ["GAN", "VQ-VAE", *SLOW])
def test_other_models_are_refused_in_a_sentence(family):
    model = FAMILIES[family]
    with pytest.raises(tasks.CannotError, match=r"cannot have its bound taken apart.*: give a VAE .*\."):
        perform(subject_of(model, model.init(KEY, jnp.zeros(IMAGE)), DATA), num=5)
