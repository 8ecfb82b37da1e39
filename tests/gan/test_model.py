"""The model and its two losses, with networks small enough to write down."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp

from gen_jax.data import Split
from gen_jax.distributions import Normal
from gen_jax.gan import (
    LOSSES,
    PENALTIES,
    adversarial_losses,
    draw_latents,
    generative_adversarial_network,
    pack,
)
from gen_jax.nets import MaxoutDiscriminator, MLPDiscriminator, MLPGenerator, batch_net
from gen_jax.types import Adversaries, BatchNet, DiscriminatorOutput, InputError, Variables

PRIOR = Normal(jnp.zeros(2), jnp.ones(2))
X = jnp.asarray(np.random.default_rng(0).normal(size=(12, 2)), jnp.float32)
WEIGHT = jnp.array([3.0, 4.0])  # of norm 5


def linear_critic(packing: int = 1) -> BatchNet:
    """D(x) = w · x, of as many features as there are in a pack."""

    def apply(params, state, x, train=False, key=None):
        return DiscriminatorOutput(x @ params["w"]), state

    return BatchNet(lambda key, x: Variables({"w": jnp.tile(WEIGHT, packing)}, {}), apply)


def batch_mean_critic() -> BatchNet:
    """D(x) = x_1 less the mean of x_1: over the batch in training, which it writes down, else as it was written."""

    def apply(params, state, x, train=False, key=None):
        mean = jnp.mean(x[:, 0]) if train else state["mean"]
        return DiscriminatorOutput(params["w"] * (x[:, 0] - mean)), {"mean": mean, "seen": state["seen"] + 1}

    return BatchNet(lambda key, x: Variables({"w": jnp.float32(1.0)}, {"mean": jnp.float32(0), "seen": jnp.int32(0)}), apply)


def loss_of(which: str, gan, *options, labels=None, **named):
    """(params, state, key, x) -> what one network minimises, its new state, metrics."""
    loss = getattr(adversarial_losses(gan, *options, **named), which)

    def of_batch(variables, key, x):
        value, (state, metrics) = loss(*variables, key, jnp.int32(0), Split(x, labels))
        return value, getattr(state, which), metrics

    return of_batch


def gan_of(discriminator: BatchNet, packing: int = 1):
    return generative_adversarial_network(batch_net(MLPGenerator((4,), (2,), batch_norm=True)), discriminator, PRIOR, packing)


def test_a_pack_is_examples_that_follow_one_another_joined_along_the_last_axis():
    vectors, images = jnp.arange(12.0).reshape(6, 2), jnp.arange(6 * 2 * 3 * 1.0).reshape(6, 2, 3, 1)
    np.testing.assert_array_equal(pack(vectors, 3), np.arange(12.0).reshape(2, 6))
    packed = pack(images, 2)
    assert packed.shape == (3, 2, 3, 2)
    np.testing.assert_array_equal(packed[1, ..., 0], images[2, ..., 0])
    np.testing.assert_array_equal(packed[1, ..., 1], images[3, ..., 0])
    np.testing.assert_array_equal(pack(images, 1), images)
    with pytest.raises(InputError, match="A batch of 6 cannot be cut into packs of 4"):
        pack(vectors, 4)


@pytest.mark.parametrize("packing", [1, 3])
@pytest.mark.parametrize(("name", "wanted"), [("gradient-penalty", lambda norm: (norm - 1) ** 2), ("r1", lambda norm: norm**2)])
def test_the_penalty_of_a_linear_critic_is_exact(name, wanted, packing, key):
    gan = gan_of(linear_critic(packing), packing)
    variables = gan.init(key, X[0])
    value, _, metrics = loss_of("discriminator", gan, LOSSES["wasserstein"], PENALTIES[name], 10.0)(variables, key, X)
    penalty = wanted(5 * np.sqrt(packing))  # of a pack's gradient, w once for each example
    np.testing.assert_allclose(metrics["penalty"], penalty, rtol=1e-5)
    np.testing.assert_allclose(value, metrics["fake_logit"] - metrics["real_logit"] + 10 * penalty, rtol=1e-5)
    np.testing.assert_allclose(metrics["real_logit"], packing * float(jnp.mean(X @ WEIGHT)), rtol=1e-5)


@pytest.mark.parametrize("joint", [False, True])
def test_real_and_generated_examples_are_normalised_by_separate_batches_or_a_joint_one(joint, key):
    gan = gan_of(batch_mean_critic())
    variables = gan.init(key, X[0])
    _, state, metrics = loss_of("discriminator", gan, LOSSES["wasserstein"], joint_batch=joint)(variables, key, X)
    z = draw_latents(PRIOR, jax.random.split(key)[0], len(X))
    real, fake = np.asarray(X[:, 0]), np.asarray(gan.generate(*variables, key, z, train=True)[0][:, 0])
    both = np.concatenate([real, fake]).mean()
    wanted = (real.mean() - both, fake.mean() - both) if joint else (0, 0)
    np.testing.assert_allclose([metrics["real_logit"], metrics["fake_logit"]], wanted, atol=1e-6)
    np.testing.assert_allclose(state["mean"], both if joint else fake.mean(), rtol=1e-5)
    assert state["seen"] == (1 if joint else 2)


def test_a_network_renews_its_own_state_and_normalises_the_other_by_its_batch(key):
    gan = gan_of(batch_mean_critic())
    variables = gan.init(key, X[0])
    losses = adversarial_losses(gan, LOSSES["wasserstein"])
    value, (state, _) = losses.generator(*variables, key, jnp.int32(0), Split(X))
    fake, wanted = gan.generate(*variables, key, draw_latents(PRIOR, key, len(X)), train=True)
    jax.tree.map(np.testing.assert_array_equal, state, wanted)
    jax.tree.map(np.testing.assert_array_equal, state.discriminator, variables.state.discriminator)
    _, (state, _) = losses.discriminator(*variables, key, jnp.int32(0), Split(X))
    jax.tree.map(np.testing.assert_array_equal, state.generator, variables.state.generator)
    np.testing.assert_allclose(value, 0, atol=1e-6)  # a mean less itself
    assert np.asarray(fake)[:, 0].std() > 0


def test_a_penalty_takes_the_averages_where_an_example_is_on_its_own(key):
    """D(x) = x_1 less a mean that is held there: a gradient of norm 1. Of the batch's own mean the sum would have none."""
    gan = gan_of(batch_mean_critic())
    variables = gan.init(key, X[0])
    loss = loss_of("discriminator", gan, LOSSES["wasserstein"], PENALTIES["r1"], 7.0)
    value, state, metrics = loss(variables, key, X)
    np.testing.assert_allclose([metrics["penalty"], value], [1.0, 7.0], rtol=1e-5, atol=1e-5)
    assert state["seen"] == 2  # what the penalty saw is not written down


def test_a_generator_draws_noise_with_the_key_it_is_given(key):
    """x = z + ε: in evaluation with the caller's key, and in both losses with one that is none of the latents'."""

    def apply(params, state, z, train=False, key=None):
        return z + params["scale"] * jax.random.normal(key, z.shape), state

    def init(key, z):
        return Variables({"scale": jnp.float32(1.0)}, {})

    gan = generative_adversarial_network(BatchNet(init, apply), linear_critic(), PRIOR)
    variables, other = gan.init(key, X[0]), jax.random.key(1)
    for train in (False, True):
        made, _ = gan.generate(*variables, other, X, train=train)
        np.testing.assert_allclose(made, np.asarray(X) + np.asarray(jax.random.normal(other, X.shape)), rtol=1e-5, atol=1e-6)

    # a loss is ±w · mean(z + ε) and its slope in the scale of the noise ±w · mean ε: the two parts are independent
    many = Split(jnp.zeros((2000, 2)))
    params, state = variables
    losses = adversarial_losses(gan, LOSSES["wasserstein"])
    for name in ("generator", "discriminator"):
        of_scale = lambda scale, key, loss=getattr(losses, name): loss(
            params._replace(generator={"scale": scale}), state, key, jnp.int32(0), many
        )[0]
        both = jax.jit(jax.vmap(jax.value_and_grad(of_scale), in_axes=(None, 0)))
        value, slope = both(jnp.float32(1.0), jax.random.split(key, 400))
        z_part, noise_part = np.asarray(value - slope), np.asarray(slope)
        # each is w · a mean of N(0, I), of standard deviation 5 / √2000
        np.testing.assert_allclose([z_part.std(), noise_part.std()], 5 / np.sqrt(2000), rtol=0.15)
        assert abs(np.corrcoef(z_part, noise_part)[0, 1]) < 4 / np.sqrt(400)


def test_the_averages_of_a_batch_norm_follow_the_batch(key):
    """mean ← 0.9 mean + 0.1 of the batch's, and in evaluation an example is on its own."""
    net = batch_net(MLPGenerator((4,), (2,), batch_norm=True))
    z = jax.random.normal(key, (8, 2))
    variables = net.init(key, z)
    _, state = net.apply(*variables, z, train=True)
    hidden = z @ variables.params["Dense_0"]["kernel"]
    np.testing.assert_allclose(state["batch_stats"]["BatchNorm_0"]["mean"], 0.1 * hidden.mean(0), rtol=1e-5)
    alone = jnp.concatenate([net.apply(*variables, z[i : i + 1])[0] for i in range(8)])
    np.testing.assert_allclose(net.apply(*variables, z)[0], alone, rtol=1e-5, atol=1e-6)


def test_a_maxout_unit_is_the_largest_of_its_linear_functions(key):
    net = batch_net(MaxoutDiscriminator((3,), pieces=2))
    variables = net.init(key, X)
    output, _ = net.apply(*variables, X)
    first, last = variables.params["Dense_0"], variables.params["DiscriminatorHead_0"]["Dense_0"]
    pieces = np.asarray(X) @ np.asarray(first["kernel"]) + np.asarray(first["bias"])
    hidden = np.maximum(pieces[:, :3], pieces[:, 3:])
    np.testing.assert_allclose(output.features, hidden, rtol=1e-5)
    np.testing.assert_allclose(output.logits, (hidden @ np.asarray(last["kernel"]) + np.asarray(last["bias"]))[:, 0], rtol=1e-5)


def test_what_does_not_go_together_is_refused(key):
    with pytest.raises(InputError, match="packing is 0: give 1 or more"):
        gan_of(linear_critic(), 0)
    with pytest.raises(InputError, match=r"makes examples of shape \(2,\), and the data have \(3,\)"):
        gan_of(batch_net(MLPDiscriminator((4,)))).init(key, jnp.zeros(3))
    with pytest.raises(InputError, match="num_classes is 1: give 2 or more"):
        conditional_gan(num_classes=1)
    with pytest.raises(InputError, match="packing is 2, and a pack of a conditional model would have many labels"):
        conditional_gan(packing=2)


@pytest.mark.parametrize(("packing", "joint"), [(5, False), (8, True)])
def test_a_batch_that_packs_do_not_divide_is_refused(packing, joint, key):
    """Of both in one batch, 24 examples, there are three packs of 8: the one in the middle would mix real and generated ones."""
    gan = gan_of(batch_net(MLPDiscriminator((4,))), packing)
    variables = gan.init(key, X[0])
    with pytest.raises(InputError, match=f"A batch of 12 cannot be cut into packs of {packing}"):
        loss_of("discriminator", gan, LOSSES["hinge"], joint_batch=joint)(variables, key, X)


@pytest.mark.slow
@pytest.mark.parametrize(("packing", "penalty"), [(1, PENALTIES["gradient-penalty"]), (3, None)])
def test_a_discriminator_without_statistics_is_the_same_on_separate_batches_and_a_joint_one(packing, penalty, key):
    gan = gan_of(batch_net(MLPDiscriminator((4,))), packing)
    params, state = gan.init(key, X[0])

    def value_and_gradient(joint):
        loss = loss_of("discriminator", gan, LOSSES["hinge"], penalty, 10.0, joint)
        of_own = lambda own: loss((params._replace(discriminator=own), state), key, X)[0]
        return jax.value_and_grad(of_own)(params.discriminator)

    separate, joint = value_and_gradient(False), value_and_gradient(True)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), separate, joint)
    assert jax.tree.reduce(lambda total, leaf: total + float(jnp.sum(jnp.abs(leaf))), joint[1], 0.0) > 0


def test_a_head_of_several_logits_is_refused(key):
    head = batch_net(MLPDiscriminator((4,)))
    zeros = lambda params, state, x, train=False, key=None: (DiscriminatorOutput(jnp.zeros((len(x), 10))), {})
    several = head._replace(apply=zeros)
    gan = gan_of(several)
    variables = gan.init(key, X[0])
    with pytest.raises(InputError, match="one logit for each"):
        loss_of("generator", gan, LOSSES["hinge"])(variables, key, X)
    assert isinstance(variables.params, Adversaries)


# --- Labels.

LABELS = jnp.asarray(np.random.default_rng(1).integers(0, 3, len(X)), jnp.int32)


def conditional_gan(classes=None, packing: int = 1, num_classes: int = 3):
    """Two linear networks on three labels: x = W [z, y] + b; φ is x itself."""
    generator, discriminator = batch_net(MLPGenerator((), (2,))), batch_net(MLPDiscriminator((), classes=classes))
    return generative_adversarial_network(generator, discriminator, PRIOR, packing, num_classes)


def test_a_generator_is_told_the_label_beside_its_latent(key):
    gan = conditional_gan()
    variables = gan.init(key, X[0])
    dense = jax.tree.map(np.asarray, variables.params.generator["Dense_0"])
    made, _ = gan.generate(*variables, key, X, LABELS)
    np.testing.assert_allclose(
        made, np.asarray(X) @ dense["kernel"][:2] + dense["kernel"][2:][np.asarray(LABELS)] + dense["bias"], rtol=1e-5, atol=1e-6
    )


def test_a_projection_adds_the_product_of_the_features_and_the_vector_of_the_label(key):
    gan = conditional_gan()
    variables = gan.init(key, X[0])
    params = variables.params.discriminator["DiscriminatorHead_0"]
    output, _ = gan.discriminate(*variables, X, LABELS)
    of_label = np.asarray(params["Dense_1"]["kernel"])[np.asarray(LABELS)]
    wanted = (np.asarray(X) @ params["Dense_0"]["kernel"])[:, 0] + (np.asarray(X) * of_label).sum(1) + params["Dense_0"]["bias"]
    np.testing.assert_allclose(output.logits, wanted, rtol=1e-5, atol=1e-6)
    assert output.classes is None


def test_the_penalty_of_a_projection_is_of_the_label_of_its_example(key):
    """∇D(x, y) = w + e_y wherever x is."""
    gan = conditional_gan()
    variables = gan.init(key, X[0])
    params = variables.params.discriminator["DiscriminatorHead_0"]
    loss = loss_of("discriminator", gan, LOSSES["hinge"], PENALTIES["r1"], 1.0, labels=LABELS)
    _, _, metrics = loss(variables, key, X)
    slopes = np.asarray(params["Dense_0"]["kernel"])[:, 0] + np.asarray(params["Dense_1"]["kernel"])[np.asarray(LABELS)]
    np.testing.assert_allclose(metrics["penalty"], (slopes**2).sum(1).mean(), rtol=1e-5)


@pytest.mark.parametrize("joint", [False, True])
def test_an_auxiliary_classifier_adds_its_loss_to_both_networks(joint, key):
    gan = conditional_gan(classes=3)
    variables = gan.init(key, X[0])
    params = jax.tree.map(np.asarray, variables.params.discriminator["DiscriminatorHead_0"])

    def class_nll(x) -> float:
        logits = np.asarray(x, np.float64) @ params["Dense_1"]["kernel"] + params["Dense_1"]["bias"]
        return float(-(logits[np.arange(len(x)), np.asarray(LABELS)] - logsumexp(logits, axis=1)).mean())

    fake, _ = gan.generate(*variables, key, draw_latents(PRIOR, jax.random.split(key)[0], len(X)), LABELS)
    loss = loss_of("discriminator", gan, LOSSES["wasserstein"], joint_batch=joint, labels=LABELS)
    value, _, metrics = loss(variables, key, X)
    np.testing.assert_allclose(value - metrics["discriminator_loss"], class_nll(X) + class_nll(fake), rtol=1e-5)
    np.testing.assert_allclose(metrics["class_loss"], class_nll(X) + class_nll(fake), rtol=1e-5)

    fake, _ = gan.generate(*variables, key, draw_latents(PRIOR, key, len(X)), LABELS)
    value, _, metrics = loss_of("generator", gan, LOSSES["wasserstein"], labels=LABELS)(variables, key, X)
    np.testing.assert_allclose(value - metrics["generator_loss"], class_nll(fake), rtol=1e-5)


def test_labels_that_are_missing_or_too_much_are_refused(key):
    gan = conditional_gan()
    variables = gan.init(key, X[0])
    with pytest.raises(InputError, match=r"labels are missing, and this model is conditional: give \[B\], from 0 to 2"):
        gan.generate(*variables, key, X)
    with pytest.raises(InputError, match=r"labels are int32\(5,\), for 12 examples: give 12 integers"):
        gan.discriminate(*variables, X, LABELS[:5])
    with pytest.raises(InputError, match=r"labels are float32\(12,\)"):
        gan.discriminate(*variables, X, jnp.float32(LABELS))
    plain = gan_of(linear_critic())
    with pytest.raises(InputError, match="labels are given, and this model has none"):
        plain.discriminate(*plain.init(key, X[0]), X, LABELS)
    with pytest.raises(InputError, match="The discriminator has 3 classes, and num_classes is None"):
        gan_of(batch_net(MLPDiscriminator((), classes=3))).init(key, X[0])
    with pytest.raises(InputError, match="The discriminator has 5 classes, and num_classes is 3"):
        conditional_gan(classes=5).init(key, X[0])
    with pytest.raises(InputError, match="labels range from 0 to 3: give 0 to 2"):
        gan.generate(*variables, key, X, LABELS.at[0].set(3))
