"""Tasks: what is done with a trained model, one for every family that can do it.

Each is a function of a model, its parameters, a key and data; `TASKS` makes them commands. A model of one's own has them too.
"""

from gen_jax.tasks import (
    arithmetic,
    completion,
    evaluation,
    interpolation,
    latent_space,
    reconstruction,
    sample_quality,
    sampling,
    traversal,
)
from gen_jax.tasks.completion import complete
from gen_jax.tasks.evaluation import Evaluation, evaluate
from gen_jax.tasks.interpolation import interpolate
from gen_jax.tasks.reconstruction import reconstruct
from gen_jax.tasks.sample_quality import quality
from gen_jax.tasks.sampling import sample
from gen_jax.tasks.task import Outcome, Subject, Task
from gen_jax.tasks.traversal import traverse

TASKS: dict[str, Task] = {
    "evaluate": evaluation.TASK,
    "sample": sampling.TASK,
    "reconstruct": reconstruction.TASK,
    "interpolate": interpolation.TASK,
    "traverse": traversal.TASK,
    "complete": completion.TASK,
    "latents": latent_space.TASK,
    "arithmetic": arithmetic.TASK,
    "quality": sample_quality.TASK,
}
"""By their names on the command line."""
