"""Images as styles of a StyleGAN: a w, or one w for each layer (w+), whose image is near (Karras et al. 2020, §5)."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from gen_jax import plots
from gen_jax.data import DataView, Split
from gen_jax.tasks.styles import style_of, synthesise
from gen_jax.tasks.task import Outcome, Subject, check_choice, check_count, compiled, draw_examples
from gen_jax.train import adam, learning_rate_schedule
from gen_jax.types import GAN, Array, Params, split

Space = Literal["w", "w+"]
RATE = 0.05  # of Adam, down to 0 by a cosine


def project(
    model: Any, params: Params, examples: Split, space: Space = "w", steps: int = 300, *, view: DataView = DataView()
) -> Float[Array, "N L W"]:
    """Return styles whose images, without noise, come near stored examples, as far as Adam finds them.

    Each example is optimised by itself from w̄, by Adam on the mean squared error of its pixels. In the space w, all layers have
    one style; w+ begins where w has ended. (The paper compares features of a network trained on ImageNet, which is not downloaded
    here.)

    Raises:
        InputError: the model has no styles.
    """
    style_of(model, "project images")
    check_choice("space", space, Space)
    check_count("steps", steps)
    return _project(model, view, params, examples.on_device(), per_layer=space == "w+", steps=steps)


@compiled
def _project(model: GAN, view: DataView, params: Params, examples: Split, per_layer: bool, steps: int) -> Array:
    style, variables = style_of(model, "project images"), split(params)
    mean = style.mean(variables.state)
    optimizer = adam(learning_rate_schedule("cosine", RATE, steps))

    def one(example: Split) -> Array:
        x = view.example(example.x)
        for_layers = lambda w: jnp.broadcast_to(w, (style.num_layers, mean.shape[0]))

        def loss(w: Array) -> Array:
            return jnp.mean((style.synthesise(*variables, None, for_layers(w)[None])[0] - x) ** 2)

        def step(state: tuple[Any, Any], _: None) -> tuple[tuple[Any, Any], None]:
            w, opt_state = state
            updates, opt_state = optimizer.update(jax.grad(loss)(w), opt_state, w)
            return (w + updates, opt_state), None

        def closest(start: Array) -> Array:
            return jax.lax.scan(step, (start, optimizer.init(start)), length=steps)[0][0]

        found = for_layers(closest(mean))
        return closest(found) if per_layer else found

    return jax.lax.map(one, examples, batch_size=20)


def perform(subject: Subject, *, num: int = 10, steps: int = 300, seed: int = 0) -> Outcome:
    """Find test images among those that a StyleGAN can make: by one style for all layers (w), and by one for each (w+).

    The figure has test images, and what was found in w and in w+; numbers are mean squared errors of pixels, beside those of the
    image of the mean style.

    Args:
        subject: the run.
        num: Number of test images, drawn at random.
        steps: Steps of Adam for each image.
        seed: Seed of the choice.
    """
    model, view, params = subject.model, subject.view, subject.params
    style = style_of(model, "project images")
    check_count("num", num)
    _, examples = draw_examples(subject.load(None, "none").test, num, subject.key)
    originals = np.asarray(jax.vmap(view.read)(examples.x))
    mean = style.mean(split(params).state)
    found = {"mean style": jnp.broadcast_to(mean[None, None], (len(originals), style.num_layers, len(mean)))}
    for space in ("w", "w+"):
        found[space] = project(model, params, examples, space, steps, view=view)
    images = {name: np.asarray(synthesise(model, view, params, None, w)) for name, w in found.items()}
    errors = {name: ((x - originals) ** 2).mean(axis=(1, 2, 3)) for name, x in images.items()}
    rows = np.concatenate([originals, images["w"], images["w+"]])
    figure = plots.image_grid(rows, len(originals), "test images, and their projections", ["test", "w", "w+"])
    return Outcome(
        f"projection-{seed}",
        f"{len(originals)} test images projected",
        {"projection": figure},
        np.asarray(found["w+"]),
        {f"squared_error_of_{name.replace(' ', '_')}": float(value.mean()) for name, value in errors.items()},
        errors,
    )
