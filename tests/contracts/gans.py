"""Every GAN under test: networks × labels × packing × loss × penalty. Adding a row tests it for all."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax.data import Split
from gen_jax.distributions import Normal
from gen_jax.gan import LOSSES, PENALTIES, adversarial_losses, generative_adversarial_network, style_gan
from gen_jax.nets import (
    DCGANDiscriminator,
    DCGANGenerator,
    GrowingDiscriminator,
    Mapping,
    MaxoutDiscriminator,
    MLPDiscriminator,
    MLPGenerator,
    ResidualDiscriminator,
    ResidualGenerator,
    ResidualStyleDiscriminator,
    SkipSynthesis,
    StyleSynthesis,
    batch_net,
)
from gen_jax.types import GAN, Adversaries

LATENT_DIM, BATCH, CLASSES = 3, 4, 3
IMAGE = (8, 8, 1)


class Case(NamedTuple):
    """A model with its losses."""

    generator: Any
    discriminator: Any
    loss: str = "non-saturating"
    penalty: str | None = None
    packing: int = 1
    labelled: bool = False
    joint: bool = False

    @property
    def gan(self) -> GAN:
        prior = Normal(jnp.zeros(LATENT_DIM), jnp.ones(LATENT_DIM))
        networks = batch_net(self.generator), batch_net(self.discriminator)
        if isinstance(self.generator, StyleSynthesis | SkipSynthesis):
            classes = CLASSES if self.labelled else None
            return style_gan(batch_net(Mapping(5, 2)), *networks, prior, IMAGE, 2, classes, grows=False).whole
        return generative_adversarial_network(*networks, prior, self.packing, CLASSES if self.labelled else None)

    @property
    def losses(self) -> Adversaries:
        loss, penalty = LOSSES[self.loss], PENALTIES[self.penalty] if self.penalty else None
        return adversarial_losses(self.gan, loss, penalty, 10.0, self.joint)

    @property
    def batch(self) -> Split:
        """Examples, and their labels where the model takes some."""
        rng = np.random.default_rng(0)
        x = jnp.asarray(rng.uniform(-1, 1, (BATCH, *getattr(self.generator, "event_shape", IMAGE))), jnp.float32)
        return Split(x, jnp.asarray(rng.integers(0, CLASSES, BATCH), jnp.int32) if self.labelled else None)


POINTS = MLPGenerator((6,), (2,), batch_norm=True)
MLPS = MLPGenerator((6,), IMAGE, output=jnp.tanh)
DCGAN = DCGANGenerator((4, 3), IMAGE)
RESIDUAL = ResidualGenerator(3, IMAGE)

CASES = {
    "points": Case(POINTS, MLPDiscriminator((6,)), penalty="r1"),
    "points-reference": Case(POINTS, MaxoutDiscriminator((5,), 3), "minimax"),
    "points-packed": Case(POINTS, MaxoutDiscriminator((5,), 3), packing=2),
    "points-packed-penalised": Case(POINTS, MLPDiscriminator((6,)), "wasserstein", "gradient-penalty", packing=2),
    "points-spectral": Case(POINTS, MLPDiscriminator((6,), spectral_norm=True), "hinge"),
    "images": Case(MLPS, MLPDiscriminator((6,)), "least-squares", "r2"),
    "images-projection": Case(MLPS, MLPDiscriminator((6,)), penalty="zero-centred", labelled=True),
    "images-classifier": Case(MLPS, MLPDiscriminator((6,), classes=CLASSES), penalty="r1", labelled=True),
    "dcgan": Case(DCGAN, DCGANDiscriminator((3, 4))),
    "dcgan-joint": Case(DCGAN, DCGANDiscriminator((3, 4)), "least-squares", joint=True),
    "dcgan-penalised": Case(DCGAN, DCGANDiscriminator((3, 4), batch_norm=False), "wasserstein", "gradient-penalty"),
    "dcgan-projection": Case(DCGAN, DCGANDiscriminator((3, 4), batch_norm=False, spectral_norm=True), "hinge", labelled=True),
    "dcgan-classifier": Case(DCGAN, DCGANDiscriminator((3, 4), classes=CLASSES), labelled=True, joint=True),
    "dcgan-packed": Case(DCGAN, DCGANDiscriminator((3, 4)), packing=2),
    "style": Case(StyleSynthesis((4, 3), 1), GrowingDiscriminator((4, 3)), penalty="r1", labelled=True),
    "style2": Case(SkipSynthesis((4, 3), 1), ResidualStyleDiscriminator((4, 3)), penalty="r1"),
    "residual": Case(RESIDUAL, ResidualDiscriminator(3, spectral_norm=True), "hinge"),
}

# two rows for the fast suite, of MLPs and of convolutions; `pytest -m slow` runs the others
FAST = {"images-projection", "dcgan"}
ROWS = [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in CASES]
