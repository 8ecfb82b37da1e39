"""Arithmetic on latents: bright images of one class − dark ones + dark ones of another class = bright ones of that class.

After §6.3.2 of Radford et al. 2016 (arXiv:1511.06434), who chose faces by hand. Here a classifier finds the class of each sample,
and its mean grey value is its brightness (of a digit, the thickness of its lines).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax import plots
from gen_jax.gan import analogy, analogy_of_styles
from gen_jax.tasks.latent_models import decode, draw_prior
from gen_jax.tasks.sample_quality import ImageClassifier, classifier_of
from gen_jax.tasks.styles import Space, draw_styles, for_layers, synthesise
from gen_jax.tasks.task import CannotError, Outcome, Subject, check_choice, refuse
from gen_jax.types import GAN, VAE, Array

NUM_DRAWN, NUM_AVERAGED = 2000, 3  # of each term, as in the paper


class Sums(NamedTuple):
    """Sums bright a − dark a + dark b of R pairs of classes.

    Attributes:
        rows: images [R, 10, H, W, C]: bright a, dark a, dark b (three each) and their sum.
        names: each row's a, b.
        of_class: the share of sums that the classifier takes for b.
        brighter: the share of sums that are brighter than each of the three dark b.
    """

    rows: np.ndarray
    names: list[str]
    of_class: float
    brighter: float


def latent_arithmetic(
    decode: Callable[[Array], Array], z: Array, classifier: ImageClassifier, add: Callable[..., Array] = analogy
) -> Sums:
    """Return the sums of latents z [N, Z], for each class a and the next one b, by add(bright a, dark a, dark b) -> [Z].

    Classes with too few of the decoded latents are left out.
    """
    images = np.asarray(decode(z))
    probabilities = classifier.probabilities(jnp.asarray(images))
    named, brightness = probabilities.argmax(axis=1), images.mean(axis=(1, 2, 3))
    rows, names, found = [], [], []
    for a in range(probabilities.shape[1]):
        b = (a + 1) % probabilities.shape[1]
        (dark_a, bright_a), (dark_b, _) = (_extremes(named == label, brightness) for label in (a, b))
        if min(map(len, (dark_a, bright_a, dark_b))) < NUM_AVERAGED:
            continue
        terms = [bright_a, dark_a, dark_b]
        total = np.asarray(decode(add(*(z[term] for term in terms))[None]))
        rows.append(np.concatenate([*(images[term] for term in terms), total]))
        names.append(f"{a}, {b}")
        is_b = classifier.probabilities(jnp.asarray(total)).argmax() == b
        found.append((is_b, total.mean() > brightness[dark_b].max()))
    of_class, brighter = np.mean(found, axis=0) if found else (np.nan, np.nan)
    return Sums(np.array(rows), names, float(of_class), float(brighter))


def _extremes(of_class: np.ndarray, brightness: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the darkest and of the brightest examples of a class, without the extreme 5 % at either end."""
    order = np.flatnonzero(of_class)[np.argsort(brightness[of_class])]
    margin = len(order) // 20
    inner = order[margin : len(order) - margin]
    return inner[:NUM_AVERAGED], inner[len(inner) // 2 :][-NUM_AVERAGED:]


def perform(subject: Subject, *, space: Space = "z") -> Outcome:
    """Add and subtract latents of a GAN or a VAE of labelled images: bright a − dark a + dark b.

    Beside the figure, the share of sums that a classifier takes for b, and that are brighter than the dark b.

    Args:
        subject: the run.
        space: Latents z, or styles w of a StyleGAN.
    """
    model = subject.model
    check_choice("space", space, Space)
    unbounded = isinstance(model, GAN) or (isinstance(model, VAE) and model.latent is not None and model.latent.unbounded)
    if not unbounded:
        what = "add latents, since a sum of them is not one of its latents"
        raise refuse(model, what, "a GAN, or a VAE of which one vector of any values is the latent")
    if model.num_classes is not None:
        raise refuse(model, "add latents of classes, since labels condition it", "one that no labels condition")
    data = subject.load(None, "none")
    classifier = classifier_of(data) if len(data.event_shape) == 3 else None
    if classifier is None:
        raise CannotError(
            f"No classifier can be trained on {data.name}, so that there are no classes to add: give a run on images of one "
            "labelled object each, with sides that 4 divides."
        )
    of_model = model, subject.view, subject.params
    draw_key, decode_key = jax.random.split(subject.key)
    if space == "w":
        w = draw_styles(model, subject.params, draw_key, NUM_DRAWN, view=subject.view)[:, 0]
        sums = latent_arithmetic(lambda w: synthesise(*of_model, None, for_layers(model, w)), w, classifier, analogy_of_styles)
    else:
        z = draw_prior(*of_model, draw_key, NUM_DRAWN, None)
        sums = latent_arithmetic(lambda z: decode(*of_model, decode_key, z, None), z, classifier)
    if not sums.names:
        raise CannotError(
            f"Among {NUM_DRAWN} samples of this model no two classes in turn have {NUM_AVERAGED} bright and {NUM_AVERAGED} dark "
            "ones each, so that there are none to add: train it further."
        )
    title = "bright a, dark a, dark b; bright a − dark a + dark b"
    figure = plots.image_grid(sums.rows.reshape(-1, *sums.rows.shape[2:]), 3 * NUM_AVERAGED + 1, title, sums.names)
    numbers = {"of_class": sums.of_class, "brighter": sums.brighter}
    stem = "arithmetic-w" if space == "w" else "arithmetic"
    return Outcome(stem, f"{len(sums.names)} sums", {"arithmetic": figure}, sums.rows, numbers)
