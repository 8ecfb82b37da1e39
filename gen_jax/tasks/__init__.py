"""Tasks: what is done with a trained model, one for every family that can do it.

Each is a function (model, params, key, ..., view): a model of the library or a user's own, the parameters that its functions
take, the key of what is drawn, and how the model sees stored examples (by default, as they are). `TASKS` has the commands.
"""

from gen_jax.tasks import (
    arithmetic,
    completion,
    evaluation,
    interpolation,
    latent_space,
    likelihood,
    novelty,
    reconstruction,
    representation,
    sample_quality,
    sampling,
    traversal,
)
from gen_jax.tasks.completion import complete
from gen_jax.tasks.evaluation import Evaluation, evaluate
from gen_jax.tasks.interpolation import interpolate
from gen_jax.tasks.likelihood import annealed_likelihood, bracket
from gen_jax.tasks.novelty import novelty_scores
from gen_jax.tasks.reconstruction import reconstruct
from gen_jax.tasks.sample_quality import quality
from gen_jax.tasks.sampling import sample
from gen_jax.tasks.task import CannotError, Outcome, Subject, Task, check_path
from gen_jax.tasks.traversal import traverse

TASKS: dict[str, Task] = {
    "evaluate": evaluation.perform,
    "likelihood": likelihood.perform,
    "sample": sampling.perform,
    "reconstruct": reconstruction.perform,
    "interpolate": interpolation.perform,
    "traverse": traversal.perform,
    "complete": completion.perform,
    "latents": latent_space.perform,
    "arithmetic": arithmetic.perform,
    "quality": sample_quality.perform,
    "novelty": novelty.perform,
    "representation": representation.perform,
}
"""By their names on the command line."""
