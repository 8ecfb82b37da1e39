"""log p(x) between bounds, of a linear-Gaussian VAE for which it is known."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax import tasks
from gen_jax.data import Dataset, Split
from gen_jax.evaluate import temperatures
from gen_jax.tasks.likelihood import perform
from gen_jax.types import InputError
from tests.contracts.vaes import linear_gaussian_vae
from tests.tasks.test_tasks import FAMILIES, IMAGE, IMAGES, KEY

VAE, MARGINAL = linear_gaussian_vae()
PARAMS = VAE.init(KEY, MARGINAL.mean) | {"widen": np.float32(0.5)}  # q(z|x) is too narrow, and its weights vary
X = Split(np.asarray(jax.vmap(MARGINAL.sample)(jax.random.split(jax.random.key(1), 24))))
EXACT = np.asarray(jax.vmap(MARGINAL.log_prob)(X.x), np.float64)


@pytest.mark.parametrize("start", ["prior", pytest.param("posterior", marks=pytest.mark.slow)])
@pytest.mark.slow
def test_annealed_likelihoods_are_log_p_within_their_standard_errors(start):
    done = []
    found = tasks.annealed_likelihood(
        VAE, PARAMS, KEY, X, temperatures(100), num_chains=16, start=start, report=lambda *at: done.append(at)
    )
    error = np.asarray(found.log_prob, np.float64) - EXACT
    assert abs(error.mean()) < 0.1
    assert (np.abs(error) < 5 * found.standard_error + 0.05).all()
    assert done == [(10, 24), (20, 24), (24, 24)]


@pytest.mark.slow
def test_the_bounds_meet():
    """Of x that the model draws: as wide apart as chance with many temperatures, and the right way round with few."""
    lower, upper = tasks.bracket(VAE, PARAMS, KEY, 24, temperatures(3), num_chains=4)
    assert (upper.log_prob - lower.log_prob).mean() > 0.2
    lower, upper = tasks.bracket(VAE, PARAMS, KEY, 24, temperatures(100), num_chains=8)
    assert abs((upper.log_prob - lower.log_prob).mean()) < 0.15


@pytest.mark.slow
def test_the_task_reports_all_estimates_in_order():
    """Samples of the prior are worst; importance weights of a posterior that is too narrow fall short of the annealed chains."""
    data = Dataset(X, X, X, name="linear")
    subject = tasks.Subject(VAE, PARAMS, tasks.task.DataView(), KEY, lambda *_, **__: data, "linear")
    options = {"num": 12, "num_temperatures": 100, "num_importance_samples": 64}
    found = perform(subject, **options)
    numbers, exact = found.summary, EXACT[found.table["index"]].mean()
    assert len(set(found.table["index"])) == 12
    assert numbers["num_examples"] == 12
    prior, weighted = numbers["test_log_prob_prior_samples"], numbers["test_log_prob_importance_weights"]
    assert prior < weighted < exact
    assert abs(numbers["test_log_prob_annealed"] - exact) < min(exact - weighted, 0.1)
    assert len(found.table["log_prob"]) == len(found.table["drawn_upper"]) == 12
    assert set(found.figures) == {"likelihood"}
    assert perform(subject, **options).summary == numbers
    for wrong in ({"num": 0}, {"num_temperatures": 0}, {"num_chains": -1}, {"num_importance_samples": 0}):
        with pytest.raises(InputError, match=f"{next(iter(wrong))} is .*: give 1 or more"):
            perform(subject, **options | wrong)
    for wrong in ({"start": "middle"}, {"schedule": "cubic"}, {"split": "tests"}):
        with pytest.raises(InputError, match=" or "):
            inspect.unwrap(perform)(subject, **options | wrong)  # without the checker of types


@pytest.mark.parametrize("family", ["VAE on a sphere", "VQ-VAE", "autoencoder", "flow", "MADE", "GAN"])
def test_what_cannot_be_annealed_is_refused_in_a_sentence(family):
    model = FAMILIES[family]
    params = model.init(KEY, jnp.zeros(IMAGE))
    with pytest.raises(InputError, match=r"cannot be annealed.*: give a VAE whose latents are real numbers without bounds\."):
        tasks.annealed_likelihood(model, params, KEY, IMAGES, temperatures(2))


@pytest.mark.slow
def test_layers_of_latents_and_labels_are_annealed_too():
    for family in ("hierarchical VAE", "conditional VAE"):
        model = FAMILIES[family]
        label = () if model.num_classes is None else (jnp.int32(0),)
        params = model.init(KEY, jnp.zeros(IMAGE), *label)
        some = jax.tree.map(lambda leaf: leaf[:3], IMAGES)
        found = tasks.annealed_likelihood(model, params, KEY, some, temperatures(5), num_chains=2)
        lower, _ = tasks.bracket(model, params, KEY, 3, temperatures(5), num_chains=2)
        assert np.isfinite(found.log_prob).all()
        assert np.isfinite(lower.log_prob).all()
        assert (found.log_prob < 0).all()
