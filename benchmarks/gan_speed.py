"""Milliseconds a generator step of two GANs on points of the plane, and of sixteen seeds at once.

- WGAN-GP: MLPs of 3 x 512, batches of 256, five critic steps for one of the generator.
- ring: 4 x 400 with batch norm against 3 x 200 of maxout-5, batches of 100, the non-saturating game.
- small: MLPs of 2 x 128, the ring's batches, R1: sixteen seeds under one `vmap`, and the same runs in turn.

Ours is the library's step in a compiled scan, with its metrics and gradient norms; the peer is the same game in PyTorch eager. No
discriminator here normalises by its batch, so that both see real and generated examples as one: the same function, faster.

    pip install -e '.[bench]' && python benchmarks/gan_speed.py --save
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch_step
from common import arguments, report, seconds_in_turn
from torch_gan import non_saturating_step, ring_networks, wgan_networks, wgan_step

from gen_jax import train
from gen_jax.data import Split
from gen_jax.data.toy import sample_mixture
from gen_jax.distributions import Normal
from gen_jax.gan import LOSSES, PENALTIES, adversarial_losses, generative_adversarial_network
from gen_jax.nets import MaxoutDiscriminator, MLPDiscriminator, MLPGenerator, batch_net
from gen_jax.types import GAN, Adversaries

SEED, SEEDS = 0, 16
STEPS = {"WGAN-GP": 20, "ring": 50, "small": 50}
CRITIC_STEPS = 5
BATCH = {"WGAN-GP": 256, "ring": 100, "small": 100}
POINTS = sample_mixture("gaussian-ring", 50_000, np.random.default_rng(SEED))


def gan_of(generator: MLPGenerator, discriminator: MLPDiscriminator | MaxoutDiscriminator) -> GAN:
    """The networks as a GAN with two normal latents."""
    prior = Normal(jnp.zeros(2), jnp.ones(2))
    return generative_adversarial_network(batch_net(generator), batch_net(discriminator), prior)


GANS = {
    "WGAN-GP": (
        gan_of(MLPGenerator((512,) * 3, (2,)), MLPDiscriminator((512,) * 3, jax.nn.relu)),
        "wasserstein",
        "gradient-penalty",
    ),
    "ring": (gan_of(MLPGenerator((400,) * 4, (2,), batch_norm=True), MaxoutDiscriminator((200,) * 3)), "non-saturating", None),
    "small": (gan_of(MLPGenerator((128,) * 2, (2,)), MLPDiscriminator((128,) * 2)), "non-saturating", "r1"),
}


def gen_jax_game(name: str) -> tuple[train.Step, Callable]:
    """Return the step of a game, and its state at a key."""
    gan, loss, penalty = GANS[name]
    critic_steps = CRITIC_STEPS if name == "WGAN-GP" else 1
    penalty_weight = 10.0 if critic_steps > 1 else 0.003
    losses = adversarial_losses(gan, LOSSES[loss], PENALTIES[penalty] if penalty else None, penalty_weight, joint_batch=True)
    optimizers = Adversaries(train.adam(1e-4, b1=0.5), train.adam(1e-4, b1=0.5))
    step = train.make_game_step(losses, optimizers, num_disc_steps=critic_steps)

    def start(key):
        return train.init_state(gan.init(key, jnp.zeros(2)), optimizers, jax.random.fold_in(key, 1))

    return step, start


def gen_jax_program(name: str, seeds: int | None = None) -> Callable:
    """Return a function that trains an epoch: of one seed, or of several at once."""
    step, start = gen_jax_game(name)
    epoch = train.scan_epoch(step, (CRITIC_STEPS if name == "WGAN-GP" else 1) * BATCH[name], STEPS[name])
    key, data = jax.random.key(SEED), Split(jnp.asarray(POINTS))
    if seeds is not None:
        epoch, start = jax.vmap(epoch, in_axes=(0, None, None)), jax.vmap(start)
    run_epoch = jax.jit(epoch, donate_argnums=0)
    state = jax.jit(start)(key if seeds is None else jax.random.split(key, seeds))

    def run():
        nonlocal state
        state, metrics = run_epoch(state, data, key)
        return jax.block_until_ready(metrics)

    return run


def torch_game(name: str, device: str, *, compiled: bool = False, capturable: bool = False) -> torch_step.Step:
    """Return the step of a game: on k batches of the critic's together for WGAN-GP, on one for the ring."""
    networks = [network.to(device) for network in (wgan_networks if name == "WGAN-GP" else ring_networks)()]
    called = list(map(torch.compile, networks)) if compiled else None
    options = {"lr": 1e-4, "betas": (0.5, 0.999), "capturable": capturable}
    optimizers = [torch.optim.Adam(network.parameters(), **options) for network in networks]
    if name == "WGAN-GP":
        return lambda x, number: wgan_step(networks, optimizers, x.view(CRITIC_STEPS, -1, 2), called)
    return lambda x, number: non_saturating_step(networks, optimizers, x, latent_dim=2, joint=True, called=called)


def torch_program(name: str) -> Callable:
    """Return a function that trains an epoch."""
    torch.manual_seed(SEED)
    device, batch = torch_step.device(), BATCH[name] * (CRITIC_STEPS if name == "WGAN-GP" else 1)
    points = torch.from_numpy(POINTS[: STEPS[name] * batch]).to(device)
    return torch_step.epoch_of(torch_game(name, device), points, batch)


def in_turn(name: str, seeds: int) -> Callable:
    """Return a function that trains an epoch of every seed, one after the other."""
    program = gen_jax_program(name)
    return lambda: [program() for _ in range(seeds)]


def main() -> None:
    """Time them in turn."""
    args = arguments(__doc__, rounds=7)
    seconds = {}
    for name in ("WGAN-GP", "ring"):
        seconds |= seconds_in_turn(
            {f"{name} gen_jax": gen_jax_program(name), f"{name} PyTorch eager": torch_program(name)}, args.rounds
        )
    at_once, one_by_one = f"small, {SEEDS} seeds vmapped", f"small, {SEEDS} seeds in turn"
    seconds |= seconds_in_turn({at_once: gen_jax_program("small", SEEDS), one_by_one: in_turn("small", SEEDS)}, args.rounds)
    steps = {program: next(n for name, n in STEPS.items() if program.startswith(name)) for program in seconds}
    milliseconds = {program: [1e3 * s / steps[program] for s in row] for program, row in seconds.items()}
    median = {program: float(np.median(row)) for program, row in milliseconds.items()}
    ratios = {
        f"{name}_vs_torch_eager": median[f"{name} PyTorch eager"] / median[f"{name} gen_jax"] for name in ("WGAN-GP", "ring")
    }
    ratios["sixteen_seeds_vmapped_vs_in_turn"] = median[one_by_one] / median[at_once]
    report("ms a generator step", milliseconds, ratios, args, SEED, batch=BATCH, critic_steps=CRITIC_STEPS, steps=STEPS)


if __name__ == "__main__":
    main()
