"""Normalizing flows: bijections of one example, what is made of them, and the densities they give.

An example or context of the wrong shape, or an example of another type than float32 or float64, raises an `InputError`, under
`jit` and `vmap` too. Log-determinants are in nats.
"""

from gen_jax.flows.autoregressive import inverse_autoregressive, masked_autoregressive
from gen_jax.flows.check import BijectionErrors, check_bijection
from gen_jax.flows.combinators import amortise, chain, invert, num_params, stack
from gen_jax.flows.coupling import coupling
from gen_jax.flows.density import Transformed, energy_loss, flow_density
from gen_jax.flows.elementary import elementwise_affine, logit, permutation, reverse, standardise
from gen_jax.flows.planar import planar, radial
from gen_jax.flows.sylvester import householder_sylvester, orthogonal_sylvester
from gen_jax.flows.transformers import Transformer, affine, rational_quadratic_spline
