"""The model and the objectives of its two players, with networks small enough to write down."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp

from gen_jax.distributions import Normal
from gen_jax.gan import (
    LOSSES,
    PENALTIES,
    discriminator_objective,
    draw_latents,
    generative_adversarial_network,
    generator_objective,
    pack,
)
from gen_jax.nets import MaxoutDiscriminator, MLPDiscriminator, MLPGenerator, batch_net
from gen_jax.types import BatchNet, Game, InputError, Player, Verdict

PRIOR = Normal(jnp.zeros(2), jnp.ones(2))
X = jnp.asarray(np.random.default_rng(0).normal(size=(12, 2)), jnp.float32)
WEIGHT = jnp.array([3.0, 4.0])  # of norm 5


def linear_critic(packing: int = 1) -> BatchNet:
    """D(x) = w · x, of as many features as there are in a pack."""

    def apply(player, x, train=False):
        return Verdict(x @ player.params["w"]), player.statistics

    return BatchNet(lambda key, x: Player({"w": jnp.tile(WEIGHT, packing)}, {}), apply)


def batch_mean_critic() -> BatchNet:
    """D(x) = x_1 less the mean of x_1: over the batch in training, which it writes down, else as it was written."""

    def apply(player, x, train=False):
        mean = jnp.mean(x[:, 0]) if train else player.statistics["mean"]
        return Verdict(player.params["w"] * (x[:, 0] - mean)), {"mean": mean, "seen": player.statistics["seen"] + 1}

    return BatchNet(lambda key, x: Player({"w": jnp.float32(1.0)}, {"mean": jnp.float32(0), "seen": jnp.int32(0)}), apply)


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
    game = gan.init(key, X[0])
    objective = jax.jit(discriminator_objective(gan, LOSSES["wasserstein"], PENALTIES[name], 10.0))
    value, (_, metrics) = objective(game.discriminator.params, game, key, X)
    penalty = wanted(5 * np.sqrt(packing))  # of a pack's gradient, w once for each example
    np.testing.assert_allclose(metrics["penalty"], penalty, rtol=1e-5)
    np.testing.assert_allclose(value, metrics["fake_logit"] - metrics["real_logit"] + 10 * penalty, rtol=1e-5)
    np.testing.assert_allclose(metrics["real_logit"], packing * float(jnp.mean(X @ WEIGHT)), rtol=1e-5)


@pytest.mark.parametrize("together", [False, True])
def test_real_and_generated_examples_are_normalised_apart_or_together(together, key):
    gan = gan_of(batch_mean_critic())
    game = gan.init(key, X[0])
    objective = discriminator_objective(gan, LOSSES["wasserstein"], together=together)
    _, (statistics, metrics) = objective(game.discriminator.params, game, key, X)
    z = draw_latents(PRIOR, jax.random.split(key)[0], len(X))
    real, fake = np.asarray(X[:, 0]), np.asarray(gan.generate(game.generator, z, train=True)[0][:, 0])
    both = np.concatenate([real, fake]).mean()
    wanted = (real.mean() - both, fake.mean() - both) if together else (0, 0)
    np.testing.assert_allclose([metrics["real_logit"], metrics["fake_logit"]], wanted, atol=1e-6)
    np.testing.assert_allclose(statistics["mean"], both if together else fake.mean(), rtol=1e-5)
    assert statistics["seen"] == (1 if together else 2)


def test_a_player_writes_its_own_statistics_and_normalises_the_other_by_its_batch(key):
    gan = gan_of(batch_mean_critic())
    game = gan.init(key, X[0])
    value, (statistics, _) = generator_objective(gan, LOSSES["wasserstein"])(game.generator.params, game, key, X)
    fake, wanted = gan.generate(game.generator, draw_latents(PRIOR, key, len(X)), train=True)
    jax.tree.map(np.testing.assert_array_equal, statistics, wanted)
    np.testing.assert_allclose(value, 0, atol=1e-6)  # a mean less itself
    assert np.asarray(fake)[:, 0].std() > 0


def test_the_averages_of_a_batch_norm_follow_the_batch(key):
    """mean ← 0.9 mean + 0.1 of the batch's, and in evaluation an example is on its own."""
    net = batch_net(MLPGenerator((4,), (2,), batch_norm=True))
    z = jax.random.normal(key, (8, 2))
    player = net.init(key, z)
    _, statistics = net.apply(player, z, train=True)
    hidden = z @ player.params["Dense_0"]["kernel"]
    np.testing.assert_allclose(statistics["batch_stats"]["BatchNorm_0"]["mean"], 0.1 * hidden.mean(0), rtol=1e-5)
    alone = jnp.concatenate([net.apply(player, z[i : i + 1])[0] for i in range(8)])
    np.testing.assert_allclose(net.apply(player, z)[0], alone, rtol=1e-5, atol=1e-6)


def test_a_maxout_unit_is_the_largest_of_its_linear_functions(key):
    net = batch_net(MaxoutDiscriminator((3,), pieces=2))
    player = net.init(key, X)
    (logits, _), _ = net.apply(player, X)
    first, last = player.params["Dense_0"], player.params["Verdicts_0"]["Dense_0"]
    pieces = np.asarray(X) @ np.asarray(first["kernel"]) + np.asarray(first["bias"])
    hidden = np.maximum(pieces[:, :3], pieces[:, 3:])
    np.testing.assert_allclose(logits, (hidden @ np.asarray(last["kernel"]) + np.asarray(last["bias"]))[:, 0], rtol=1e-5)


def test_what_does_not_go_together_is_refused(key):
    with pytest.raises(InputError, match="packing is 0: give 1 or more"):
        gan_of(linear_critic(), 0)
    with pytest.raises(InputError, match=r"makes examples of shape \(2,\), and the data have \(3,\)"):
        gan_of(batch_net(MLPDiscriminator((4,)))).init(key, jnp.zeros(3))
    with pytest.raises(InputError, match="num_classes is 1: give 2 or more"):
        conditional_gan(num_classes=1)
    with pytest.raises(InputError, match="packing is 2, and the decisions of a conditional model are about one label each"):
        conditional_gan(packing=2)


@pytest.mark.parametrize(("packing", "together"), [(5, False), (8, True)])
def test_a_batch_that_packs_do_not_divide_is_refused(packing, together, key):
    """Of both together, 24 examples, there are three packs of 8, and the one in the middle would mix real and generated ones."""
    gan = gan_of(batch_net(MLPDiscriminator((4,))), packing)
    game = gan.init(key, X[0])
    with pytest.raises(InputError, match=f"A batch of 12 cannot be cut into packs of {packing}"):
        discriminator_objective(gan, LOSSES["hinge"], together=together)(game.discriminator.params, game, key, X)


@pytest.mark.parametrize(("packing", "penalty"), [(1, PENALTIES["gradient-penalty"]), (3, None)])
def test_a_discriminator_that_judges_alone_finds_the_same_apart_and_together(packing, penalty, key):
    gan = gan_of(batch_net(MLPDiscriminator((4,))), packing)
    game = gan.init(key, X[0])
    apart, together = (
        jax.value_and_grad(discriminator_objective(gan, LOSSES["hinge"], penalty, 10.0, side_by_side), has_aux=True)(
            game.discriminator.params, game, key, X
        )
        for side_by_side in (False, True)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), apart, together)
    assert jax.tree.reduce(lambda total, leaf: total + float(jnp.sum(jnp.abs(leaf))), together[1], 0.0) > 0


def test_a_head_of_several_logits_is_refused(key):
    head = batch_net(MLPDiscriminator((4,)))
    several = head._replace(apply=lambda player, x, train=False: (Verdict(jnp.zeros((len(x), 10))), {}))
    gan = gan_of(several)
    game = gan.init(key, X[0])
    with pytest.raises(InputError, match="one logit for each decision"):
        generator_objective(gan, LOSSES["hinge"])(game.generator.params, game, key, X)
    assert isinstance(game, Game)


# --- Labels.

LABELS = jnp.asarray(np.random.default_rng(1).integers(0, 3, len(X)), jnp.int32)


def conditional_gan(classes=None, packing: int = 1, num_classes: int = 3):
    """Two linear players on three labels: x = W [z, y] + b; φ is x itself."""
    generator, discriminator = batch_net(MLPGenerator((), (2,))), batch_net(MLPDiscriminator((), classes=classes))
    return generative_adversarial_network(generator, discriminator, PRIOR, packing, num_classes)


def test_a_generator_is_told_the_label_beside_its_latent(key):
    gan = conditional_gan()
    game = gan.init(key, X[0])
    dense = jax.tree.map(np.asarray, game.generator.params["Dense_0"])
    made, _ = gan.generate(game.generator, X, LABELS)
    np.testing.assert_allclose(
        made, np.asarray(X) @ dense["kernel"][:2] + dense["kernel"][2:][np.asarray(LABELS)] + dense["bias"], rtol=1e-5, atol=1e-6
    )


def test_a_projection_adds_the_product_of_the_features_and_the_vector_of_the_label(key):
    gan = conditional_gan()
    params = gan.init(key, X[0]).discriminator.params["Verdicts_0"]
    verdict, _ = gan.discriminate(Player({"Verdicts_0": params}, {}), X, LABELS)
    of_label = np.asarray(params["Dense_1"]["kernel"])[np.asarray(LABELS)]
    wanted = (np.asarray(X) @ params["Dense_0"]["kernel"])[:, 0] + (np.asarray(X) * of_label).sum(1) + params["Dense_0"]["bias"]
    np.testing.assert_allclose(verdict.logits, wanted, rtol=1e-5, atol=1e-6)
    assert verdict.classes is None


def test_the_penalty_of_a_projection_is_of_the_label_of_its_example(key):
    """∇D(x, y) = w + e_y wherever x is."""
    gan = conditional_gan()
    game = gan.init(key, X[0])
    params = game.discriminator.params["Verdicts_0"]
    objective = discriminator_objective(gan, LOSSES["hinge"], PENALTIES["r1"], 1.0)
    _, (_, metrics) = objective(game.discriminator.params, game, key, X, LABELS)
    slopes = np.asarray(params["Dense_0"]["kernel"])[:, 0] + np.asarray(params["Dense_1"]["kernel"])[np.asarray(LABELS)]
    np.testing.assert_allclose(metrics["penalty"], (slopes**2).sum(1).mean(), rtol=1e-5)


@pytest.mark.parametrize("together", [False, True])
def test_an_auxiliary_classifier_adds_its_loss_to_both_players(together, key):
    gan = conditional_gan(classes=3)
    game = gan.init(key, X[0])
    params = jax.tree.map(np.asarray, game.discriminator.params["Verdicts_0"])

    def class_nll(x) -> float:
        logits = np.asarray(x, np.float64) @ params["Dense_1"]["kernel"] + params["Dense_1"]["bias"]
        return float(-(logits[np.arange(len(x)), np.asarray(LABELS)] - logsumexp(logits, axis=1)).mean())

    fake, _ = gan.generate(game.generator, draw_latents(PRIOR, jax.random.split(key)[0], len(X)), LABELS)
    objective = discriminator_objective(gan, LOSSES["wasserstein"], together=together)
    value, (_, metrics) = objective(game.discriminator.params, game, key, X, LABELS)
    np.testing.assert_allclose(value - metrics["discriminator_loss"], class_nll(X) + class_nll(fake), rtol=1e-5)
    np.testing.assert_allclose(metrics["class_loss"], class_nll(X) + class_nll(fake), rtol=1e-5)

    fake, _ = gan.generate(game.generator, draw_latents(PRIOR, key, len(X)), LABELS)
    value, (_, metrics) = generator_objective(gan, LOSSES["wasserstein"])(game.generator.params, game, key, X, LABELS)
    np.testing.assert_allclose(value - metrics["generator_loss"], class_nll(fake), rtol=1e-5)


def test_labels_that_are_missing_or_too_much_are_refused(key):
    gan = conditional_gan()
    game = gan.init(key, X[0])
    with pytest.raises(InputError, match=r"labels are missing, and this model is conditional: give \[B\], from 0 to 2"):
        gan.generate(game.generator, X)
    with pytest.raises(InputError, match=r"labels are int32\(5,\), for 12 examples: give 12 integers"):
        gan.discriminate(game.discriminator, X, LABELS[:5])
    with pytest.raises(InputError, match=r"labels are float32\(12,\)"):
        gan.discriminate(game.discriminator, X, jnp.float32(LABELS))
    plain = gan_of(linear_critic())
    with pytest.raises(InputError, match="labels are given, and this model has none"):
        plain.discriminate(plain.init(key, X[0]).discriminator, X, LABELS)
    with pytest.raises(InputError, match="The discriminator names 3 classes, and num_classes is None"):
        gan_of(batch_net(MLPDiscriminator((), classes=3))).init(key, X[0])
    with pytest.raises(InputError, match="The discriminator names 5 classes, and num_classes is 3"):
        conditional_gan(classes=5).init(key, X[0])
    with pytest.raises(InputError, match="labels range from 0 to 3: give 0 to 2"):
        gan.generate(game.generator, X, LABELS.at[0].set(3))
