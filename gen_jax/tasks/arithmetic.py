"""Arithmetic on latents: bright images of one class − dark ones + dark ones of another class = bright ones of that class.

After §6.3.2 of Radford et al. 2016 (arXiv:1511.06434), who chose faces by hand. Here a classifier finds the class of each sample,
and its mean grey value is its brightness (of a digit, the thickness of its lines).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax import plots
from gen_jax.gan import analogy
from gen_jax.tasks.latent_models import decode, draw_prior
from gen_jax.tasks.sample_quality import ImageClassifier, classifier_of
from gen_jax.tasks.task import CannotError, Outcome, Subject, refuse
from gen_jax.types import GAN, VAE, Array

NUM_DRAWN, NUM_AVERAGED = 2000, 3  # of each term, as in the paper


def latent_arithmetic(decode: Callable[[Array], Array], z: Array, classifier: ImageClassifier) -> tuple[np.ndarray, list[str]]:
    """Return rows of images [R, 10, H, W, C], bright a, dark a, dark b (three each) and their sum; and each row's a, b.

    Classes with too few of the decoded latents z [N, Z] are left out.
    """
    images = np.asarray(decode(z))
    probabilities = classifier.probabilities(jnp.asarray(images))
    of_class, brightness = probabilities.argmax(axis=1), images.mean(axis=(1, 2, 3))
    rows, names = [], []
    for a in range(probabilities.shape[1]):
        b = (a + 1) % probabilities.shape[1]
        (dark_a, bright_a), (dark_b, _) = (_extremes(of_class == label, brightness) for label in (a, b))
        if min(map(len, (dark_a, bright_a, dark_b))) < NUM_AVERAGED:
            continue
        terms = [bright_a, dark_a, dark_b]
        total = analogy(*(z[term] for term in terms))
        shown = [images[term] for term in terms]
        rows.append(np.concatenate([*shown, np.asarray(decode(total[None]))]))
        names.append(f"{a}, {b}")
    return np.array(rows), names


def _extremes(of_class: np.ndarray, brightness: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the darkest and of the brightest examples of a class, without the extreme 5 % at either end."""
    order = np.flatnonzero(of_class)[np.argsort(brightness[of_class])]
    margin = len(order) // 20
    inner = order[margin : len(order) - margin]
    return inner[:NUM_AVERAGED], inner[len(inner) // 2 :][-NUM_AVERAGED:]


def perform(subject: Subject) -> Outcome:
    """Add and subtract latents of a GAN or a VAE of labelled images: bright a − dark a + dark b.

    Args:
        subject: the run.
    """
    model = subject.model
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
    z = draw_prior(*of_model, draw_key, NUM_DRAWN, None)
    rows, names = latent_arithmetic(lambda z: decode(*of_model, decode_key, z, None), z, classifier)
    if not names:
        raise CannotError(
            f"Among {NUM_DRAWN} samples of this model no two classes in turn have {NUM_AVERAGED} bright and {NUM_AVERAGED} dark "
            "ones each, so that there are none to add: train it further."
        )
    title = "bright a, dark a, dark b; bright a − dark a + dark b"
    figure = plots.image_grid(rows.reshape(-1, *rows.shape[2:]), 3 * NUM_AVERAGED + 1, title, names)
    return Outcome("arithmetic", f"{len(names)} sums", {"arithmetic": figure}, rows)
