"""What is done with a GAN: its game, its evaluation and its figures, as an `Experiment`."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from gen_jax import plots
from gen_jax.data import Split
from gen_jax.gan import LOSSES, PENALTIES, clip_weights, discriminator_objective, draw_latents, generator_objective
from gen_jax.recipes.experiment import Evaluation, Experiment, Training, check_events, prepare
from gen_jax.recipes.gan_settings import GanSettings
from gen_jax.train import adam, init_game_state, learning_rate_schedule, make_game_step
from gen_jax.types import GAN, Array, Game, InputError, Key, Metrics, Params


class Medium(NamedTuple):
    """What the examples of a GAN are.

    Attributes:
        to_model: an example as the data have it -> as the networks have it.
        from_model: back.
        check: (examples, what they are) -> None; raises for those that the model cannot take.
        picture: examples -> a matplotlib figure.
        quality: (examples drawn, split) -> named numbers, at the end of training.
        progress: examples drawn -> named numbers, at every validation.
        num_drawn: examples of an evaluation, of a split of so many.
    """

    to_model: Callable[[Array], Array]
    from_model: Callable[[Array], Array]
    check: Callable[[np.ndarray, str], None]
    picture: Callable[[Any], Any]
    quality: Callable[[np.ndarray, Split], dict[str, float]]
    progress: Callable[[np.ndarray], dict[str, float]]
    num_drawn: Callable[[int], int]


def gan_experiment(gan: GAN, settings: GanSettings, event_shape: tuple[int, ...], medium: Medium) -> Experiment:
    """Return the experiment of a GAN."""

    @functools.partial(jax.jit, static_argnums=2)
    @jax.default_matmul_precision("highest")
    def sample(game: Game, key: Key, num: int) -> Array:
        return medium.from_model(gan.generate(game.generator, draw_latents(gan.prior, key, num))[0])

    def validate(game: Game, key: Key, split: Split) -> Metrics:
        drawn = np.asarray(sample(game, key, medium.num_drawn(len(split.images))))
        return {f"valid_{name}": value for name, value in medium.progress(drawn).items() if np.isfinite(value)}

    def evaluate(
        game: Game, key: Key, split: Split, name: str, num_samples: int | None, on_progress: Callable[[int, int], None]
    ) -> Evaluation:
        if num_samples is not None:
            raise InputError("num_importance_samples is given, and a GAN has no likelihood: leave it out.")
        drawn = np.asarray(sample(game, key, medium.num_drawn(len(split.images))))
        quality = medium.quality(drawn, split)
        on_progress(len(split.images), len(split.images))
        summary = {f"{name}_{quantity}": value for quantity, value in quality.items()} | {"num_samples": len(drawn)}
        # what the discriminator makes of the examples, one at a time
        logits = discriminator_logits(game, split.images)
        table = {"index": np.arange(len(split.images))} | ({} if split.labels is None else {"label": split.labels})
        return Evaluation(summary, table | {"logit": np.asarray(logits)})

    @jax.jit
    @jax.default_matmul_precision("highest")
    def discriminator_logits(game: Game, images: Array) -> Array:
        def of_one(image: Array) -> Array:
            x = medium.to_model(prepare("none", jax.random.key(0), image))
            # a pack of copies, where a decision is about several
            return gan.discriminate(game.discriminator, jnp.stack([x] * gan.packing))[0][0]

        return jax.lax.map(of_one, jnp.asarray(images), batch_size=500)

    def figures(game: Game, key: Key, test: Split, rows: list[dict[str, Any]]) -> dict[str, Any]:
        losses = [f"train_{name}" for name in ("discriminator_loss", "generator_loss")]
        return {
            "samples": medium.picture(sample(game, key, 100 if len(event_shape) > 1 else medium.num_drawn(len(test.images)))),
            "losses": plots.loss_curves(rows, losses, "loss"),
            "logits": plots.loss_curves(rows, ["train_real_logit", "train_fake_logit"], "mean logit"),
        }

    def check(images: np.ndarray, where: str) -> None:
        check_events(images, event_shape, settings.binarise, where)
        medium.check(images, where)

    return Experiment(
        training=play(settings, gan, event_shape, settings.penalty_weight, medium.to_model),
        validate=validate,
        best_metric=None,
        check=check,
        evaluate=evaluate,
        sample=sample,
        picture=medium.picture,
        figures=figures,
    )


def play(
    settings: GanSettings,
    gan: GAN,
    event_shape: tuple[int, ...],
    penalty_weight: float | Float[Array, ""],
    to_model: Callable[[Array], Array] = lambda x: x,
) -> Callable[[int], Training]:
    """Return the training of a GAN by its game.

    The weight of the penalty is an argument of its own, and not the settings', so that it can be one of many under a `vmap`.
    """
    loss, penalty = LOSSES[settings.loss], PENALTIES.get(settings.penalty)
    objectives = Game(
        generator_objective(gan, loss),
        discriminator_objective(gan, loss, penalty, penalty_weight, settings.normalise == "together"),
    )

    def of_batch(objective: Callable[..., Any]) -> Callable[..., Any]:
        def game_loss(params: Params, game: Game, key: Key, batch: Split) -> tuple[Array, tuple[Params, Metrics]]:
            pixel_key, model_key = jax.random.split(key)
            keys = jax.random.split(pixel_key, len(batch.images))
            x = jax.vmap(lambda k, image: to_model(prepare(settings.binarise, k, image)))(keys, batch.images)
            return objective(params, game, model_key, x)

        return game_loss

    def constrain(params: Params) -> Params:
        return params if settings.clip_weights is None else clip_weights(params, settings.clip_weights)

    def training(num_steps: int) -> Training:
        def optimizer(learning_rate: float, num_steps: int) -> Any:
            schedule = learning_rate_schedule(settings.schedule, learning_rate, num_steps)
            return adam(schedule, settings.clip_norm, settings.weight_decay, settings.adam_b1)

        disc_rate = settings.learning_rate if settings.disc_learning_rate is None else settings.disc_learning_rate
        disc_steps = num_steps * settings.num_disc_steps
        optimizers = Game(optimizer(settings.learning_rate, num_steps), optimizer(disc_rate, disc_steps))

        def init(key: Key, noise_key: Key) -> Any:
            return init_game_state(gan.init(key, jnp.zeros(event_shape)), optimizers, noise_key, settings.ema_decay)

        losses = Game(*(of_batch(objective) for objective in objectives))
        return Training(
            init,
            make_game_step(losses, optimizers, settings.num_disc_steps, settings.simultaneous, settings.ema_decay, constrain),
        )

    return training
