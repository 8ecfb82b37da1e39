"""Tasks: what is done with a trained model, one for every family that can do it.

Each is a function (model, params, key, ..., view): a model of the library or a user's own, the parameters that its functions
take, the key of what is drawn, and how the model sees stored examples (by default, as they are). `TASKS` has the commands.
"""

from gen_jax.tasks import (
    arithmetic,
    bound,
    completion,
    disentanglement,
    evaluation,
    exporting,
    interpolation,
    latent_space,
    likelihood,
    novelty,
    projection,
    reconstruction,
    representation,
    sample_quality,
    sampling,
    styles,
    translation,
    traversal,
)
from gen_jax.tasks.bound import inference_gaps, rate_decomposition
from gen_jax.tasks.completion import complete
from gen_jax.tasks.evaluation import Evaluation, evaluate
from gen_jax.tasks.exporting import export
from gen_jax.tasks.interpolation import interpolate
from gen_jax.tasks.likelihood import annealed_likelihood, bracket
from gen_jax.tasks.missing import MissingEstimate, missing_estimate
from gen_jax.tasks.novelty import novelty_scores
from gen_jax.tasks.projection import project
from gen_jax.tasks.reconstruction import reconstruct
from gen_jax.tasks.sample_quality import quality
from gen_jax.tasks.sampling import sample
from gen_jax.tasks.styles import draw_styles, noise_effect, synthesise
from gen_jax.tasks.task import CannotError, Outcome, Subject, Task, check_folder, check_path
from gen_jax.tasks.translation import translate, translation_quality
from gen_jax.tasks.traversal import traverse

TASKS: dict[str, Task] = {
    "evaluate": evaluation.perform,
    "likelihood": likelihood.perform,
    "bound": bound.perform,
    "sample": sampling.perform,
    "reconstruct": reconstruction.perform,
    "interpolate": interpolation.perform,
    "traverse": traversal.perform,
    "complete": completion.perform,
    "latents": latent_space.perform,
    "arithmetic": arithmetic.perform,
    "styles": styles.perform,
    "project": projection.perform,
    "quality": sample_quality.perform,
    "novelty": novelty.perform,
    "representation": representation.perform,
    "disentanglement": disentanglement.perform,
    "translate": translation.perform,
    "export": exporting.perform,
}
"""By their names on the command line."""
FOLDERS = frozenset({"export"})
"""The tasks that make a folder, of their name, in place of a figure."""
