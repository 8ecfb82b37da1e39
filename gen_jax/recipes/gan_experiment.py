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
from gen_jax.recipes.sample_quality import num_measured
from gen_jax.train import adam, init_game_state, learning_rate_schedule, make_game_step
from gen_jax.types import GAN, Array, Game, InputError, Key, Metrics, Params

Decode = Callable[..., Array]
"""(z [N, Z], labels [N] of a conditional model; by default in turn) -> examples."""
AT_ONCE = 500  # images


class Medium(NamedTuple):
    """What the examples of a GAN are.

    Attributes:
        check: (examples, what they are) -> None; raises for those that the model cannot take.
        picture: examples -> a matplotlib figure.
        num_pictured: examples of a picture.
        progress: examples drawn -> named numbers, at every validation; None for none, and nothing is drawn.
        to_model: an example as the data have it -> as the networks have it.
        from_model: back.
        figures: (decode, key, test split) -> more figures by name.
    """

    check: Callable[[np.ndarray, str], None]
    picture: Callable[[Any], Any]
    num_pictured: int
    progress: Callable[[np.ndarray], dict[str, float]] | None = None
    to_model: Callable[[Array], Array] = lambda x: x
    from_model: Callable[[Array], Array] = lambda x: x
    figures: Callable[[Decode, Key, Split], dict[str, Any]] = lambda decode, key, test: {}


def gan_experiment(
    gan: GAN, settings: GanSettings, event_shape: tuple[int, ...], medium: Medium, num_classes: int | None = None
) -> Experiment:
    """Return the experiment of a GAN, which is told the labels where their number is given; they are drawn in turn."""

    def labels_in_turn(num: int) -> Array | None:
        return None if num_classes is None else jnp.arange(num) % num_classes

    @jax.jit
    @jax.default_matmul_precision("highest")
    def decode(game: Game, z: Array, labels: Array | None = None) -> Array:
        def of_one(row: tuple[Array, Array | None]) -> Array:
            z, label = row
            return medium.from_model(gan.generate(game.generator, z[None], None if label is None else label[None])[0][0])

        return jax.lax.map(of_one, (z, labels_in_turn(len(z)) if labels is None else labels), batch_size=AT_ONCE)

    @functools.partial(jax.jit, static_argnums=1)
    def latents(key: Key, num: int) -> Array:
        return draw_latents(gan.prior, key, num)

    def sample(game: Game, key: Key, num: int) -> Array:
        return decode(game, latents(key, num))

    def validate(game: Game, key: Key, split: Split) -> Metrics:
        if medium.progress is None:
            return {}
        drawn = np.asarray(sample(game, key, num_measured(settings.data, split)))
        return {f"valid_{name}": value for name, value in medium.progress(drawn).items() if np.isfinite(value)}

    def evaluate(
        game: Game, key: Key, split: Split, name: str, num_samples: int | None, on_progress: Callable[[int, int], None]
    ) -> Evaluation:
        if num_samples is not None:
            raise InputError("num_importance_samples is given, and a GAN has no likelihood: leave it out.")
        table = {"index": np.arange(len(split.images))} | ({} if split.labels is None else {"label": split.labels})
        if gan.packing == 1:  # what the discriminator makes of the examples, one at a time; a pack is of several
            labels = None if num_classes is None else split.labels
            table["logit"] = np.asarray(discriminator_logits(game, Split(split.images, labels)))
        on_progress(len(split.images), len(split.images))
        return Evaluation({}, table)

    @jax.jit
    @jax.default_matmul_precision("highest")
    def discriminator_logits(game: Game, split: Split) -> Array:
        def of_one(example: Split) -> Array:
            x = medium.to_model(prepare("none", jax.random.key(0), example.images))
            label = None if num_classes is None else example.labels[None]
            return gan.discriminate(game.discriminator, x[None], label)[0].logits[0]

        return jax.lax.map(of_one, split.on_device(), batch_size=AT_ONCE)

    def figures(game: Game, key: Key, test: Split, rows: list[dict[str, Any]]) -> dict[str, Any]:
        losses = [f"train_{name}" for name in ("discriminator_loss", "generator_loss")]
        return {
            "samples": medium.picture(sample(game, key, medium.num_pictured)),  # the last frame of the animation
            "losses": plots.loss_curves(rows, losses, "loss"),
            "logits": plots.loss_curves(rows, ["train_real_logit", "train_fake_logit"], "mean logit"),
        } | medium.figures(functools.partial(decode, game), jax.random.fold_in(key, 1), test)

    def check(images: np.ndarray, where: str) -> None:
        check_events(images, event_shape, settings.binarise, where)
        medium.check(images, where)

    return Experiment(
        training=play(settings, gan, event_shape, settings.penalty_weight, medium.to_model, num_classes),
        validate=validate,
        best_metric=None,
        check=check,
        evaluate=evaluate,
        sample=sample,
        picture=medium.picture,
        figures=figures,
        num_classes=num_classes,
        num_frames_drawn=medium.num_pictured,
        measures_samples=True,
    )


def play(
    settings: GanSettings,
    gan: GAN,
    event_shape: tuple[int, ...],
    penalty_weight: float | Float[Array, ""],
    to_model: Callable[[Array], Array] = lambda x: x,
    num_classes: int | None = None,
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
            return objective(params, game, model_key, x, None if num_classes is None else batch.labels)

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
