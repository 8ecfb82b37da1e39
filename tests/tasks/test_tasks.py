"""Tasks on models that are known: a linear-Gaussian VAE, a flow that is a normal, a GAN that is a map, a MADE of coins."""

from inspect import unwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import kstest

from gen_jax import flows, gan, made, nets, tasks
from gen_jax.autoencoders import Autoencoder, autoencoder
from gen_jax.data import ENERGIES, Dataset, DataView, Split, load_dataset
from gen_jax.densities import with_event_shape
from gen_jax.distributions import Bernoulli, Normal
from gen_jax.evaluate import square_grid
from gen_jax.nets import MLP, MLPDiscriminator, MLPGenerator, batch_net
from gen_jax.tasks.completion import observed_part
from gen_jax.tasks.latent_models import great_arc, line
from gen_jax.tasks.sampling import picture
from gen_jax.types import VAE, InputError
from gen_jax.vae import (
    bernoulli_likelihood,
    beta,
    bottom_up_vae,
    class_conditional,
    gaussian_vae,
    standard_normal,
    variational_autoencoder,
    vector_quantised_vae,
    von_mises_fisher,
)
from tests.contracts.vaes import CODES, linear_gaussian_vae

KEY = jax.random.key(0)
LINEAR, MARGINAL = linear_gaussian_vae()
PARAMS = LINEAR.init(KEY, MARGINAL.mean)
XS = Split(np.asarray(jax.vmap(MARGINAL.sample)(jax.random.split(jax.random.key(1), 40))))

AUTOENCODER = autoencoder(MLP((), (2,)), MLP((), (5,)))
FLOW = flows.flow_density(
    Normal(jnp.zeros(5), jnp.ones(5)), flows.chain(flows.elementwise_affine(5), flows.elementwise_affine(5))
)
COINS = made.made(5, (8,), made.bernoulli_output())
MADE = made.ensemble(COINS, lambda index: COINS.degrees)
POINTS = gan.generative_adversarial_network(
    batch_net(MLPGenerator((), (5,))), batch_net(MLPDiscriminator((3,))), Normal(jnp.zeros(2), jnp.ones(2))
)

IMAGE = (4, 4, 1)
LABELS = np.arange(40) % 2
HALVES = np.zeros((40, *IMAGE), np.float32)  # the left or the right half bright, as the label says, but for a pixel in eight
HALVES[LABELS == 0, :, :2] = HALVES[LABELS == 1, :, 2:] = 1
HALVES = np.abs(HALVES - (np.random.default_rng(0).random(HALVES.shape) < 1 / 8)).astype(np.float32)
IMAGES = Split(HALVES, LABELS)
DATA = Dataset(IMAGES, IMAGES, IMAGES, name="halves")
PAIRS = Split(np.concatenate([HALVES, 1 - HALVES], axis=-1))
TO_IMAGE, BERNOULLI = MLP((), IMAGE), bernoulli_likelihood()
PLAIN, BITS = gaussian_vae(MLP((), (2, 2)), TO_IMAGE, 2, BERNOULLI), made.made(16, (16,), made.bernoulli_output())


def gan_of_images(num_classes: int | None = None):
    networks = batch_net(MLPGenerator((), IMAGE)), batch_net(MLPDiscriminator((3,)))
    return gan.generative_adversarial_network(*networks, Normal(jnp.zeros(2), jnp.ones(2)), num_classes=num_classes)


def cycle_gan_of_images():
    networks = MLP((), IMAGE), MLP((), (2, 2))
    return gan.cycle_gan(*((net, net) for net in networks), channels=(1, 1))


def style_gan_of_images():
    networks = (nets.Mapping(3, 1), nets.StyleSynthesis((3,), 1), nets.GrowingDiscriminator((3,)))
    normal = Normal(jnp.zeros(2), jnp.ones(2))
    return gan.style_gan(*map(batch_net, networks), normal, IMAGE, num_stages=1, num_classes=2).whole


FAMILIES = {
    "VAE": PLAIN,
    "conditional VAE": class_conditional(PLAIN, 2),
    "VAE on a sphere": variational_autoencoder(MLP((), (4,)), TO_IMAGE, von_mises_fisher(3), BERNOULLI),
    "hierarchical VAE": bottom_up_vae([MLP((), (2, 2)), MLP((), (2, 1))], [MLP((), (2, 2))], TO_IMAGE, (2, 1), BERNOULLI),
    "VQ-VAE": vector_quantised_vae(MLP((), (1, 2, 2)), TO_IMAGE, 3, (1, 2), BERNOULLI, CODES),
    "autoencoder": autoencoder(MLP((), (2,)), TO_IMAGE),
    "autoencoder of three dimensions": autoencoder(MLP((), (3,)), TO_IMAGE),
    "flow": with_event_shape(flows.flow_density(Normal(jnp.zeros(16), jnp.ones(16)), flows.elementwise_affine(16)), IMAGE),
    "MADE": with_event_shape(made.ensemble(BITS, lambda index: BITS.degrees), IMAGE),
    "GAN": gan_of_images(),
    "conditional GAN": gan_of_images(2),
    "conditional StyleGAN": style_gan_of_images(),
    "CycleGAN": cycle_gan_of_images(),
}
VECTORS, AUTOENCODERS = (
    {"VAE", "conditional VAE", "VAE on a sphere"},
    {name for name in FAMILIES if "auto" in name},
)
DRAWS = set(FAMILIES) - AUTOENCODERS - {"CycleGAN"}
VAES = VECTORS | {"hierarchical VAE", "VQ-VAE"}
DOES = {
    "evaluate": set(FAMILIES),
    "sample": DRAWS,
    "reconstruct": VAES | AUTOENCODERS,
    "interpolate": set(FAMILIES) - {"flow", "MADE", "CycleGAN"},
    "traverse": VECTORS,
    "complete": VECTORS | {"hierarchical VAE", "MADE"},
    "latents": (VAES | AUTOENCODERS) - {"autoencoder of three dimensions"},
    "arithmetic": {"VAE", "GAN"},
    "quality": DRAWS,
    "translate": {"CycleGAN"},
    "styles": {"conditional StyleGAN"},
    "project": {"conditional StyleGAN"},
}


def subject_of(model, params, data: Dataset = DATA) -> tasks.Subject:
    return tasks.Subject(model, params, DataView(), KEY, lambda *_, **__: data, data.name)


def do(task: str, model, params, examples: Split = IMAGES):
    subject = subject_of(model, params)
    coded = examples if isinstance(model, Autoencoder) else None
    return {
        "evaluate": lambda: tasks.evaluate(model, params, KEY, examples),
        "sample": lambda: tasks.sample(model, params, KEY, 3),
        "reconstruct": lambda: tasks.reconstruct(model, params, KEY, examples),
        "interpolate": lambda: tasks.interpolate(model, params, KEY, 2, 3, examples=coded),
        "traverse": lambda: tasks.traverse(model, params, KEY, jax.tree.map(lambda leaf: jnp.asarray(leaf[:1]), examples), 3),
        "complete": lambda: tasks.complete(model, params, KEY, examples, np.indices(examples.x.shape[1:])[0] < 2),
        "latents": lambda: sorted(tasks.TASKS["latents"](subject).figures),
        "arithmetic": lambda: tasks.TASKS["arithmetic"](subject).array,
        "quality": lambda: tasks.quality(model, params, KEY, DATA, num=20),
        "styles": lambda: tasks.TASKS["styles"](subject, num=2).summary,
        "project": lambda: tasks.TASKS["project"](subject, num=2, steps=2).table,
        "translate": lambda: tasks.translate(model, params, KEY, examples.x[..., :1], "a-to-b"),
    }[task]()


SLOW = {"conditional VAE", "VAE on a sphere", "hierarchical VAE", "VQ-VAE", "conditional GAN", "conditional StyleGAN"}


@pytest.mark.parametrize("family", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in FAMILIES])
def test_a_task_serves_every_family_that_can_do_it_and_refuses_the_others_in_a_sentence(family):
    model = FAMILIES[family]
    label = (jnp.int32(0),) if family == "conditional VAE" else ()
    examples = PAIRS if family == "CycleGAN" else IMAGES
    params = model.init(KEY, jnp.zeros(examples.x.shape[1:]), *label)
    for task, able in DOES.items():
        if family in able:
            found, again = (jax.tree.leaves(do(task, model, params, examples)) for _ in range(2))
            assert all(isinstance(leaf, str) or np.isfinite(np.asarray(leaf, np.float64)).all() for leaf in found)
            assert all(np.array_equal(a, b) for a, b in zip(found, again, strict=True))
        else:
            with pytest.raises(tasks.CannotError, match=r"^An? .*cannot .*: give .*\.$"):
                do(task, model, params, examples)


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - DOES["arithmetic"]))
def test_latents_that_cannot_be_added_are_told_before_data_are_read_and_a_classifier_trained(family):
    subject = subject_of(FAMILIES[family], {})._replace(load=lambda *_: pytest.fail("data are read"))
    wanted = "since labels condition it" if "conditional" in family else "since a sum of them is not one of its latents"
    with pytest.raises(tasks.CannotError, match=wanted):
        tasks.TASKS["arithmetic"](subject)


def test_without_classes_there_are_no_sums():
    model = FAMILIES["GAN"]
    params = model.init(KEY, jnp.zeros(IMAGE))
    for x, labels in ((HALVES, None), (np.zeros((40, 2), np.float32), LABELS), (HALVES[:, :3], LABELS)):
        split = Split(x, labels)
        with pytest.raises(tasks.CannotError, match="No classifier can be trained on these, so that there are no classes to add"):
            tasks.TASKS["arithmetic"](subject_of(model, params, Dataset(split, split, split, name="these")))
    collapsed = jax.tree.map(jnp.zeros_like, params)  # every sample is one image
    with pytest.raises(tasks.CannotError, match="no two classes in turn have 3 bright and 3 dark ones each"):
        tasks.TASKS["arithmetic"](subject_of(model, collapsed))


def test_a_choice_that_there_is_not_is_told_from_python_too():
    """By the functions themselves, without the checker of types that these tests run with and users do not."""
    subject = subject_of(LINEAR, PARAMS)
    for call, message in (
        (lambda: unwrap(tasks.sample)(LINEAR, PARAMS, KEY, 3, draw="foo"), "draw is 'foo': give examples or means."),
        (lambda: unwrap(tasks.quality)(LINEAR, PARAMS, KEY, DATA, against="nope"), "against is 'nope': give valid or test."),
        (lambda: unwrap(tasks.TASKS["evaluate"])(subject, split="tset"), "split is 'tset': give train or valid or test."),
        (lambda: unwrap(tasks.TASKS["interpolate"])(subject, ends="data"), "ends is 'data': give prior or test."),
        (
            lambda: unwrap(observed_part)("uper", (2, 2), KEY),
            "observed is 'uper': give upper or lower or left or right or random or the path of a mask (.npy, .npz, .png).",
        ),
    ):
        with pytest.raises(InputError) as told:
            call()
        assert str(told.value) == message


def test_what_a_task_is_not_given_nobody_can_fill_in_for_all():
    defaults = (tasks.Outcome, tasks.Subject, tasks.Evaluation)
    found = [value for kind in defaults for value in kind._field_defaults.values() if hasattr(value, "keys")]
    assert len(found) == 8
    for value in found:
        with pytest.raises(TypeError):
            value["name"] = 1


def test_what_is_no_model_is_named():
    with pytest.raises(InputError, match="tuple cannot be evaluated: give a VAE, a flow"):
        tasks.evaluate((), {}, KEY, XS)


def test_an_evaluation_of_a_linear_gaussian_vae_is_log_p():
    found = tasks.evaluate(LINEAR, PARAMS, KEY, XS, num_importance_samples=50)
    log_p = np.asarray(jax.vmap(MARGINAL.log_prob)(jnp.asarray(XS.x)), np.float64)
    np.testing.assert_allclose(found.table["log_prob"], log_p, atol=1e-4)  # its posterior is exact: every weight is p(x)
    np.testing.assert_allclose(found.summary["nll"], -log_p.mean(), atol=1e-4)
    np.testing.assert_allclose(found.summary["nll_se"], log_p.std(ddof=1) / np.sqrt(40), atol=1e-4)
    assert found.details == {"num_importance_samples": 50, "num_examples": 40}


def test_means_are_those_of_p_of_x_given_z_and_examples_have_its_noise():
    """x = W z + b + σ ε: means have the covariance W Wᵀ, examples W Wᵀ + σ² I."""
    weights = np.asarray(jax.jacobian(lambda z: LINEAR.decode(PARAMS, z).mean)(jnp.zeros(2)), np.float64)
    means, examples = (
        np.asarray(tasks.sample(LINEAR, PARAMS, KEY, 20_000, draw=draw), np.float64) for draw in (None, "examples")
    )
    scale = (weights @ weights.T).diagonal().max()
    np.testing.assert_allclose(np.cov(means.T), weights @ weights.T, atol=0.06 * scale)
    np.testing.assert_allclose(np.cov(examples.T), weights @ weights.T + 0.36 * np.eye(5), atol=0.06 * scale)
    with pytest.raises(InputError, match="draw is means, which are those of a VAE"):
        tasks.sample(FLOW, FLOW.init(KEY), KEY, 3, draw="means")


def test_samples_of_a_density_follow_it():
    params = jax.tree.map(lambda leaf: leaf + 0.3, FLOW.init(KEY))
    drawn = tasks.sample(FLOW, params, KEY, 4000)
    to_base = lambda x: flows.chain(flows.elementwise_affine(5), flows.elementwise_affine(5)).inverse_and_log_det(params, x)[0]
    assert kstest(np.asarray(jax.vmap(to_base)(drawn)).ravel(), "norm").pvalue > 1e-3


def test_a_gan_is_drawn_in_the_range_of_the_data():
    params = POINTS.init(KEY, jnp.zeros(5))
    plain, shown = (tasks.sample(POINTS, params, KEY, 6, view=view) for view in (DataView(), DataView(symmetric=True)))
    np.testing.assert_allclose(shown, np.clip((plain + 1) / 2, 0, 1), rtol=1e-6)
    dense = params.params.generator["Dense_0"]
    z = np.asarray(gan.draw_latents(POINTS.prior, KEY, 6))
    np.testing.assert_allclose(plain, z @ np.asarray(dense["kernel"]) + np.asarray(dense["bias"]), rtol=1e-5, atol=1e-6)


def labelled_vae() -> VAE:
    """x is the one-hot of the label, whatever z is."""
    likelihood = bernoulli_likelihood()._replace(distribution=lambda params, output: Bernoulli(output))

    class Decoder:
        def init(self, key, z, context=None):
            return {}

        def apply(self, params, z, context=None):
            return 20 * (2 * context - 1) + 0 * jnp.sum(z)

    return class_conditional(variational_autoencoder(MLP((), (2, 2)), Decoder(), standard_normal(2), likelihood), 3)


def test_labels_are_drawn_in_turn_or_as_they_are_asked_for():
    vae = labelled_vae()
    params = vae.init(KEY, jnp.zeros(3), jnp.int32(0))
    for draw in (None, "examples"):
        in_turn = tasks.sample(vae, params, KEY, 7, draw=draw)
        np.testing.assert_array_equal(np.argmax(in_turn, axis=1), np.arange(7) % 3)
        asked = tasks.sample(vae, params, KEY, 5, labels=(2, 0), draw=draw)
        np.testing.assert_array_equal(np.argmax(asked, axis=1), [2, 0, 2, 0, 2])
    with pytest.raises(InputError, match=r"labels is \[3\], and the model has 3 classes: give 0 to 2"):
        tasks.sample(vae, params, KEY, 5, labels=(3,))
    with pytest.raises(InputError, match="the model is not conditional"):
        tasks.sample(LINEAR, PARAMS, KEY, 5, labels=(0,))
    rows = tasks.interpolate(vae, params, KEY, 4, 3)
    np.testing.assert_array_equal(np.argmax(rows, axis=-1), (np.arange(4) % 3)[:, None].repeat(3, 1))


def test_a_reconstruction_is_drawn_from_the_posterior():
    """Of a linear-Gaussian VAE: its mean over keys is W E[z|x] + b."""
    some = Split(XS.x[:4])
    drawn = [tasks.reconstruct(LINEAR, PARAMS, jax.random.key(i), some) for i in range(300)]
    wanted = [LINEAR.decode(PARAMS, LINEAR.encode(PARAMS, jnp.asarray(x)).mean).mean for x in some.x]
    error = np.std(drawn, axis=0) / np.sqrt(300)
    assert np.all(np.abs(np.mean(drawn, axis=0) - np.array(wanted)) < 5 * error + 1e-5)


def test_an_interpolation_keeps_the_norm_and_goes_at_an_even_pace():
    start, end = jnp.array([3.0, 0.0, 0.0]), jnp.array([0.0, 3.0, 0.0])
    path = np.asarray(great_arc(start, end, jnp.linspace(0, 1, 4)))
    angles = np.arange(4) * np.pi / 6
    np.testing.assert_allclose(path, 3 * np.stack([np.cos(angles), np.sin(angles), 0 * angles], -1), atol=1e-6)


@pytest.mark.parametrize("end", [jnp.array([2.0, 4.0]), jnp.array([-1.0, -2.0]), jnp.array([1.0, 2.0])])
def test_along_one_direction_it_is_a_line(end):
    start = jnp.array([1.0, 2.0])
    path = np.asarray(great_arc(start, end, jnp.linspace(0, 1, 3)))
    np.testing.assert_allclose(path, np.stack([start, (start + end) / 2, end]), atol=1e-5)


def test_a_path_goes_from_the_latent_of_one_example_to_that_of_the_next():
    params = AUTOENCODER.init(KEY, jnp.zeros(5))
    found = np.asarray(tasks.interpolate(AUTOENCODER, params, KEY, 3, 4, examples=XS))
    decode = lambda z: AUTOENCODER.decode(params, z)
    for i in range(3):
        ends = [AUTOENCODER.encode(params, jnp.asarray(XS.x[2 * i + j])) for j in (0, 1)]
        np.testing.assert_allclose(found[i], jax.vmap(decode)(line(*ends, jnp.linspace(0, 1, 4))), rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError, match="There are 4 examples for the ends of 3 paths: give 6"):
        tasks.interpolate(AUTOENCODER, params, KEY, 3, 4, examples=Split(XS.x[:4]))


@pytest.mark.parametrize(
    ("latent", "path", "other"), [(von_mises_fisher(3), "spherical", "linear"), (beta(2), "linear", "spherical")]
)
def test_a_path_stays_where_latents_can_be(latent, path, other):
    vae = variational_autoencoder(MLP((), latent.encoder_shape), MLP((), (5,)), latent, bernoulli_likelihood())
    params = vae.init(KEY, jnp.zeros(5))
    chosen, default = (np.asarray(tasks.interpolate(vae, params, KEY, 2, 3, path=way)) for way in (path, None))
    np.testing.assert_array_equal(chosen, default)
    with pytest.raises(InputError, match=f"path is {other}, which leaves where the latents of this model can be: use {path}"):
        tasks.interpolate(vae, params, KEY, 2, 3, path=other)


@pytest.mark.parametrize(
    ("observed", "options", "message"),
    [
        (np.ones(IMAGE, bool), {}, "observed is True everywhere, so that nothing is missing"),
        (np.zeros(IMAGE, bool), {}, "observed is False everywhere, so that nothing is known"),
        (np.ones(5, bool), {}, r"observed is bool of shape \(5,\): give booleans of the shape of an example, \(4, 4, 1\)"),
        (np.ones(IMAGE, np.float32), {}, "observed is float32 of shape"),
        (np.indices(IMAGE)[0] < 2, {"num_importance_samples": 9}, "num_importance_samples is of the method resampling"),
        (np.indices(IMAGE)[0] < 2, {"num_steps": 0}, "num_steps is 0"),
    ],
)
def test_what_cannot_be_completed_is_refused(observed, options, message):
    params = PLAIN.init(KEY, jnp.zeros(IMAGE))
    with pytest.raises(InputError, match=message):
        tasks.complete(PLAIN, params, KEY, IMAGES, observed, **options)
    bits = FAMILIES["MADE"]
    with pytest.raises(InputError, match="a MADE takes none"):
        tasks.complete(bits, bits.init(KEY), KEY, IMAGES, np.indices(IMAGE)[0] < 2, method="gibbs")


def test_a_completion_keeps_what_is_observed_and_draws_the_rest_given_it():
    """A MADE in which the last bit is the first one: a completion repeats it."""
    params = MADE.init(KEY)
    inner = jax.tree.map(jnp.zeros_like, params.params)
    hidden, output = inner["params"]["hidden_0"], inner["params"]["output"]
    hidden["kernel"] = hidden["kernel"].at[0, -1].set(1.0)  # the unit of the highest degree sees bit 0
    output["kernel"] = output["kernel"].at[-1, 4].set(40.0)
    output["bias"] = output["bias"].at[4].set(-20.0)
    params = params._replace(params=inner)
    x = np.array([[1, 0, 1, 0, 0], [0, 1, 1, 0, 0]], np.float32)
    found = tasks.complete(MADE, params, KEY, Split(x), np.arange(5) < 2, num=50)
    assert found.x.shape == (50, 2, 5)
    np.testing.assert_array_equal(found.x[:, :, :2], np.broadcast_to(x[:, :2], (50, 2, 2)))
    np.testing.assert_array_equal(found.x[:, :, 4], np.broadcast_to(x[:, 0], (50, 2)))
    assert 0.3 < found.x[:, :, 2].mean() < 0.7  # a coin
    assert found.exact.all()
    images = with_event_shape(MADE, (5, 1, 1))
    drawn = tasks.complete(images, params, KEY, Split(x.reshape(2, 5, 1, 1)), (np.arange(5) < 2).reshape(5, 1, 1), num=50)
    np.testing.assert_array_equal(drawn.x.reshape(50, 2, 5), found.x)


@pytest.mark.parametrize(
    ("which", "wanted"),
    [("upper", [[1, 1], [0, 0]]), ("lower", [[0, 0], [1, 1]]), ("left", [[1, 0], [1, 0]]), ("right", [[0, 1], [0, 1]])],
)
def test_the_observed_half_is_the_one_that_is_named(which, wanted):
    np.testing.assert_array_equal(observed_part(which, (2, 2, 1), KEY)[..., 0], wanted)
    assert observed_part("random", (100, 100, 1), KEY).mean() == pytest.approx(0.5, abs=0.02)


def test_nothing_is_compiled_a_second_time_for_a_model():
    compilations = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, duration, **_: compilations.append(event) if "backend_compile" in event else None
    )
    try:
        do("sample", LINEAR, PARAMS, XS)
        do("evaluate", LINEAR, PARAMS, XS)
        before = len(compilations)
        do("sample", LINEAR, PARAMS, XS)
        do("evaluate", LINEAR, PARAMS, XS)
        assert len(compilations) == before
    finally:
        jax.monitoring.clear_event_listeners()


def test_a_figure_shows_a_few_hundred_samples(monkeypatch):
    """Each takes 0.4 MB there."""
    shown = []
    monkeypatch.setattr("gen_jax.plots.image_grid", lambda images, columns, title: shown.append(images))
    picture(np.zeros((5000, 4, 4, 1)))
    assert shown[0].shape == (400, 4, 4, 1)


def test_the_target_of_an_energy_is_drawn_as_its_density(monkeypatch):
    """e^−U on the square, whose log at a point is −U there."""
    panels = {}
    monkeypatch.setattr("gen_jax.plots.plane", lambda rows, bound: panels.update(rows))
    data = load_dataset("toy:ring")
    picture(np.zeros((5, 2)), data=data)
    found = panels["target $e^{-U}$"]
    points, _ = square_grid(5.0, 200)
    expected = np.exp(-np.asarray(jax.vmap(ENERGIES["ring"])(points), np.float64)).reshape(200, 200)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-30)
