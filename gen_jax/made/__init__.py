"""MADE: the masked autoencoder for distribution estimation, with one mask or an ensemble of them."""

from gen_jax.made.made import MADE, Completion, Masks, ensemble, made, made_loss, shuffled_masks, with_ordering
from gen_jax.made.outputs import Output, bernoulli_output, categorical_output, normal_mixture_output
from gen_jax.made.sampling import draw_by_passes
from gen_jax.nets import lost_dependencies
