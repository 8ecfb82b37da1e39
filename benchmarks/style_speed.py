"""Milliseconds a training step, of the discriminator and of the generator, of image GANs as the recipes have them.

- cyclegan: two translations of 28 x 28 grey images and back, with pools, cycle and identity losses.
- progressive: the last stage of `progressive-mnist`, 32 x 32, fully grown, in the paper's game: gradient penalty and drift.
- stylegan: `stylegan-mnist` at full size: adaptive instance norm, noise, mixing (of probability 0), R1 at every fourth step.
- stylegan2: the same with modulated convolutions, skips, a residual discriminator, and path lengths at every fourth step.

All but the first keep a moving average of the generator. Ours is the recipe's own losses and step in a compiled scan, with its
metrics and gradient norms; the peer is the same game in PyTorch eager (and, on a GPU, compiled, but for the penalties, which
differentiate twice). The two differ where eager PyTorch can do less: it makes CycleGAN's translations once for both players,
and it does not compute the stage before the last, whose share is 0 when that is fully grown.

    pip install -e '.[bench]' && python benchmarks/style_speed.py --save
    python benchmarks/style_speed.py --only stylegan --only stylegan2 --batch 64 --width 32
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch_step
from common import arguments, epoch_program, report, seconds_in_turn
from torch_style import (
    CycleGame,
    Game,
    GrowingDiscriminator,
    GrowingGenerator,
    GrownGame,
    ResidualDiscriminator,
    SkipSynthesis,
    StyleGame,
    StyleGenerator,
    StyleSynthesis,
    patch_discriminator,
    translator,
)

from gen_jax import train
from gen_jax.recipes import cycle, style
from gen_jax.recipes.settings import Settings, change

SEED = 0
NAMES = ("cyclegan", "progressive", "stylegan", "stylegan2")
STEPS = 20  # a multiple of four, so that lazy penalties have their share
GROWN = 10**6  # a step after all growth
SIZE, STAGES = 28, 4
WASSERSTEIN = {  # the paper's game
    "loss": "wasserstein",
    "penalty": "gradient-penalty",
    "penalty_weight": 10.0,
    "penalty_every": 1,
    "drift": 0.001,
}


def settings_of(name: str, batch: int | None = None, width: int | None = None) -> Settings:
    """Return the recipe's settings, with another batch and width if they are given."""
    settings = {
        "cyclegan": change(cycle.RECIPES["cyclegan"].settings, cycle_weight=10.0, identity_weight=5.0),  # the peer's
        "progressive": change(style.RECIPES["progressive-mnist"].settings, batch_size=32, **WASSERSTEIN),
        "stylegan": style.RECIPES["stylegan-mnist"].settings,
        "stylegan2": change(style.RECIPES["stylegan-mnist"].settings, architecture="style2"),
    }[name]
    widest = {"disc_width": 2} if name == "cyclegan" else {"max_width": 8}  # in widths
    widths = {} if width is None else {"width": width, **{key: times * width for key, times in widest.items()}}
    return change(settings, **widths, **({} if batch is None else {"batch_size": batch}))


def gen_jax_program(name: str, settings: Settings, images: np.ndarray) -> Callable:
    """Return a function that trains an epoch."""
    experiment = (cycle if name == "cyclegan" else style).build(settings, images.shape[1:])
    losses = experiment.loss[-1] if name == "progressive" else experiment.loss
    optimizers = experiment.optimizer(GROWN)
    step = train.make_game_step(losses, optimizers, settings.average_decay)
    init_key, noise_key = jax.random.split(jax.random.key(SEED))
    variables = jax.jit(experiment.model.init)(init_key, jnp.zeros(images.shape[1:]))
    state = train.init_state(variables, optimizers, noise_key, ema=settings.average_decay is not None)
    return epoch_program(step, state._replace(step=jnp.int32(GROWN)), images, settings.batch_size)


def torch_game(name: str, settings: Settings, device: str, compiled: bool) -> Game:
    """Return the peer's game."""
    options = {"learning_rate": settings.learning_rate, "ema_decay": settings.average_decay, "compiled": compiled}
    if name == "cyclegan":
        generators = [translator(1, settings.width, settings.num_halvings, settings.num_blocks).to(device) for _ in "ab"]
        discriminators = [patch_discriminator(1, settings.disc_width, settings.disc_halvings).to(device) for _ in "ab"]
        return CycleGame(generators, discriminators, settings.pool_size, betas=(settings.adam_b1, 0.999), **options)
    latent, adam = settings.latent_dim, settings.optimizer
    options |= {"latent_dim": latent, "betas": (adam.adam_b1, adam.adam_b2)}
    channels = [min(settings.max_width, settings.width * 2 ** (STAGES - 1 - stage)) for stage in range(STAGES)]
    if name == "progressive":
        networks = GrowingGenerator(channels, 1, latent), GrowingDiscriminator(channels, 1, blurred=False)
        return GrownGame(*(net.to(device) for net in networks), **options)
    options["penalty_weight"] = settings.penalty.penalty_weight
    synthesis = (StyleSynthesis if name == "stylegan" else SkipSynthesis)(channels, 1, latent, SIZE)
    generator = StyleGenerator(synthesis, latent, settings.architecture.mapping_layers, settings.architecture.mixing)
    if name == "stylegan":
        discriminator = GrowingDiscriminator(channels, 1, blurred=True)
    else:
        discriminator = ResidualDiscriminator(channels, 1)
        options["path_weight"] = settings.architecture.path_weight
    return StyleGame(generator.to(device), discriminator.to(device), **options)


def torch_program(name: str, settings: Settings, images: np.ndarray, compiled: bool = False) -> Callable:
    """Return a function that trains an epoch."""
    torch.manual_seed(SEED)
    device = torch_step.device()
    data = torch.from_numpy(images.transpose(0, 3, 1, 2).copy()).to(device)
    return torch_step.epoch_of(torch_game(name, settings, device, compiled).step, data, settings.batch_size)


def images_of(name: str, num: int) -> np.ndarray:
    """Return images to train on, of the pair of domains for CycleGAN."""
    shape = (num, SIZE, SIZE, 2 if name == "cyclegan" else 1)
    return np.random.default_rng(SEED).uniform(-1, 1, shape).astype(np.float32)


def main() -> None:
    """Time them in turn."""
    options = {
        "only": {"action": "append", "choices": NAMES, "help": "time this one; may be repeated"},
        "batch": {"type": int, "help": "examples a step; by default the recipe's"},
        "width": {"type": int, "help": "channels at full size, others in proportion; by default the recipe's"},
    }
    args = arguments(__doc__, rounds=7, **options)
    seconds, ratios, batch = {}, {}, {}
    for name in args.only or NAMES:
        settings = settings_of(name, args.batch, args.width)
        batch[name] = settings.batch_size
        images = images_of(name, STEPS * settings.batch_size)
        programs = {"gen_jax": gen_jax_program(name, settings, images), "PyTorch eager": torch_program(name, settings, images)}
        if jax.default_backend() == "gpu":
            programs["PyTorch compiled"] = torch_program(name, settings, images, compiled=True)
        timed = seconds_in_turn(programs, args.rounds)
        seconds |= {f"{name} {program}": row for program, row in timed.items()}
        for program in programs:
            if program != "gen_jax":
                peer = program.lower().replace("pytorch ", "torch_")
                ratios[f"{name}_vs_{peer}"] = float(np.median(timed[program]) / np.median(timed["gen_jax"]))
    milliseconds = {program: [1e3 * s / STEPS for s in row] for program, row in seconds.items()}
    report("ms a step", milliseconds, ratios, args, SEED, batch=batch, width=args.width, steps=STEPS)


if __name__ == "__main__":
    main()
