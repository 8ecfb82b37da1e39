"""What is read off latents, on images whose label is which half is bright."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax import tasks
from gen_jax.data import Dataset, DataView, Split
from gen_jax.tasks.representation import perform
from gen_jax.types import InputError
from tests.tasks.test_tasks import FAMILIES, HALVES, IMAGE, KEY, LABELS, subject_of

MANY = Split(np.tile(HALVES, (4, 1, 1, 1)), np.tile(LABELS, 4))
DATA = Dataset(MANY, MANY, MANY, name="halves")


def params_of(model):
    return model.init(KEY, jnp.zeros(IMAGE))


@pytest.mark.parametrize(
    "family",
    [
        "VAE",
        "MADE",
        "GAN",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("autoencoder", "hierarchical VAE", "VQ-VAE")),
    ],
)
def test_latents_pixels_and_components_are_probed(family):
    model = FAMILIES[family]
    rows = perform(subject_of(model, params_of(model), DATA), max_labels=120, max_test=60).summary
    size = {"VAE": 2, "autoencoder": 2, "hierarchical VAE": 3, "VQ-VAE": 4, "MADE": 16, "GAN": 3}[family]
    assert rows.pop("data") == "halves"
    assert list(rows) == [f"model ({size})", "pixels (16)", *([f"components ({size})"] if size < 16 else [])]
    latents, pixels, *components = rows.values()
    assert list(latents)[:2] == ["linear, 100 labels", "linear_se, 100 labels"]
    assert len(latents) == 2 * 2 * 2
    assert min(part["linear, 120 labels"] for part in (pixels, *components)) > 0.95
    assert all(0 <= value <= 1 for row in rows.values() for value in row.values())


def test_a_latent_that_is_the_label_is_read_and_noise_is_not():
    """The code of a linear autoencoder, by hand: the bright half less the dark one; or a pixel that says nothing."""
    model = FAMILIES["autoencoder"]
    found = {}
    for name, weights in {"halves": [1.0, 1.0, -1.0, -1.0], "nothing": [0.0] * 4}.items():
        encode = lambda params, x, w=weights: jnp.stack([jnp.sum(x[..., 0] * jnp.array(w)[None]), jnp.float32(0)])
        subject = subject_of(model._replace(encode=encode), params_of(model), DATA)
        found[name] = perform(subject, max_labels=100).summary["model (2)"]["linear, 100 labels"]
    assert found["halves"] > 0.95
    assert abs(found["nothing"] - 0.5) < 0.1


def test_features_are_the_layer_before_the_last_by_hand():
    """Of a MADE, relu of the masked product; of a discriminator, what its last layer makes the logit of."""
    made, gan, x = FAMILIES["MADE"], FAMILIES["GAN"], jnp.asarray(MANY.x[3])
    variables = made.init(KEY)
    layer = variables.params["params"]["hidden_0"]
    degrees = jax.tree.map(lambda leaf: np.asarray(leaf[0]), variables.state)
    mask = degrees.hidden[0][None, :] >= degrees.inputs[:, None]
    wanted = jax.nn.relu(jnp.ravel(x) @ (layer["kernel"] * mask) + layer["bias"])
    np.testing.assert_allclose(made.features(variables, x), wanted, atol=1e-6)
    variables = gan.init(KEY, x)
    output, _ = gan.discriminate(*variables, x[None])
    head = variables.params.discriminator["DiscriminatorHead_0"]["Dense_0"]
    np.testing.assert_allclose(output.features @ head["kernel"] + head["bias"][None], output.logits[:, None], atol=1e-6)


@pytest.mark.parametrize("family", ["flow", "conditional VAE"])
def test_what_has_no_latents_of_its_own_is_refused(family):
    model = FAMILIES[family]
    label = (jnp.int32(0),) if family == "conditional VAE" else ()
    with pytest.raises(tasks.CannotError, match=r"cannot .*: give .*\."):
        perform(subject_of(model, model.init(KEY, jnp.zeros(IMAGE), *label), DATA))


def test_data_without_labels_are_refused():
    model = FAMILIES["VAE"]
    bare = Split(MANY.x)
    with pytest.raises(InputError, match="The examples of bare have no labels"):
        perform(subject_of(model, params_of(model), Dataset(bare, bare, bare, name="bare")))
    with pytest.raises(InputError, match="max_labels is 0"):
        perform(tasks.Subject(model, None, DataView(), KEY, lambda **_: DATA, "halves"), max_labels=0)
