"""MADE: the masked autoencoder for distribution estimation, under one mask or many."""

from gen_jax.made.made import MADE, Completion, Masks, complete, ensemble, made, made_loss, shuffled_masks, with_ordering
from gen_jax.made.outputs import Output, bernoulli_output, categorical_output, normal_mixture_output
from gen_jax.made.sampling import draw_by_passes, draw_in_order
from gen_jax.nets import lost_dependencies
