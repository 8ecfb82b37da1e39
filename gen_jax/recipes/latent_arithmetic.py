"""Sums of latents with a meaning: bright images of one class − dark ones + dark ones of another = bright ones of the other.

After §6.3.2 of Radford et al. 2016 (arXiv:1511.06434), who chose faces by hand. Here a classifier names the class of what is
drawn, and the mean grey value says how bright it is: of a digit, how thick.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

from gen_jax import plots
from gen_jax.gan import analogy, draw_latents
from gen_jax.recipes.gan_experiment import Decode
from gen_jax.recipes.sample_quality import ImageClassifier
from gen_jax.types import Distribution, Key

NUM_DRAWN, NUM_AVERAGED = 2000, 3  # of each term, as in the paper


def latent_arithmetic(classifier: ImageClassifier, decode: Decode, prior: Distribution, key: Key) -> dict[str, Any]:
    """Return a figure whose rows are bright a, dark a, dark b and their sum, or none where too little of a class is drawn."""
    z = draw_latents(prior, key, NUM_DRAWN)
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
        shown = [images[term] for term in terms]
        total = analogy(*(z[term] for term in terms))
        rows.append(np.concatenate([*shown, np.asarray(decode(total[None]))]))
        names.append(f"{a}, {b}")
    if not rows:
        return {}
    title = "bright a, dark a, dark b; bright a − dark a + dark b"
    return {"arithmetic": plots.image_grid(np.concatenate(rows), 3 * NUM_AVERAGED + 1, title, names)}


def _extremes(of_class: np.ndarray, brightness: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which examples of a class are darkest, and which brightest, but for the outermost twentieths."""
    order = np.flatnonzero(of_class)[np.argsort(brightness[of_class])]
    margin = len(order) // 20
    inner = order[margin : len(order) - margin]
    return inner[:NUM_AVERAGED], inner[len(inner) // 2 :][-NUM_AVERAGED:]
