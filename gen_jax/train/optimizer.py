"""Optimizers, gradient and weight clipping, and learning-rate schedules."""

from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import optax

from gen_jax.types import InputError, Number, unknown

ScheduleName = Literal["constant", "cosine", "linear-after-half", "iwae"]


def adam(
    learning_rate: optax.ScalarOrSchedule,
    clip_norm: Number | None = None,
    weight_decay: Number = 0.0,
    b1: Number = 0.9,
    b2: Number = 0.999,
) -> optax.GradientTransformation:
    """Return Adam (Kingma & Ba 2015, arXiv:1412.6980), of gradients clipped to a global norm of `clip_norm` if that is given.

    With a weight decay λ it is AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101): parameters also shrink by λ · learning rate ·
    parameter.

    Raises:
        InputError: an argument is out of its range.
    """
    for name, value in (("adam_b1", b1), ("adam_b2", b2)):
        if isinstance(value, float | int) and not 0 <= value < 1:
            raise InputError(f"{name} is {value}: give a number from 0 to 1, less than 1.")
    if isinstance(weight_decay, float | int) and not weight_decay >= 0:
        raise InputError(f"weight_decay is {weight_decay}: give 0 or a positive number.")
    if not isinstance(weight_decay, float | int) or weight_decay:
        return _clipped(clip_norm, optax.adamw(learning_rate, b1, b2, weight_decay=weight_decay))
    return _clipped(clip_norm, optax.adam(learning_rate, b1, b2))


def rmsprop(
    learning_rate: optax.ScalarOrSchedule, clip_norm: Number | None = None, decay: Number = 0.99
) -> optax.GradientTransformation:
    """Return RMSProp (Tieleman & Hinton 2012), of gradients clipped as for `adam`.

    PyTorch's form and decay, which the WGAN authors' code uses (Arjovsky et al. 2017).

    Raises:
        InputError: `clip_norm` is not positive.
    """
    return _clipped(clip_norm, optax.rmsprop(learning_rate, decay, eps_in_sqrt=False))


def _clipped(clip_norm: Number | None, optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    if clip_norm is None:
        return optimizer
    if isinstance(clip_norm, float | int) and not clip_norm > 0:
        raise InputError(f"clip_norm is {clip_norm}: give a positive number, or none at all.")
    return optax.chain(optax.clip_by_global_norm(clip_norm), optimizer)


def clip_weights(optimizer: optax.GradientTransformation, bound: Number) -> optax.GradientTransformation:
    """Return the optimizer with every parameter clipped to [−c, c] after each step (Arjovsky et al. 2017: c = 0.01).

    Raises:
        InputError: the bound c is not positive.
    """
    if isinstance(bound, float | int) and not bound > 0:
        raise InputError(f"clip_weights is {bound}: give a positive number.")

    def clip(updates: optax.Updates, params: Any) -> optax.Updates:
        return jax.tree.map(lambda u, p: jnp.clip(p + u, -bound, bound) - p, updates, params)

    return optax.chain(optimizer, optax.stateless(clip))


def learning_rate_schedule(name: ScheduleName, learning_rate: Number, num_steps: int) -> optax.Schedule:
    """Return a schedule over a run of `num_steps` steps.

    - constant: `learning_rate` throughout.
    - cosine: from `learning_rate` down to 0 along half a cosine.
    - linear-after-half: `learning_rate` for the first half, then down to 0 along a line (Zhu et al. 2017, arXiv:1703.10593).
    - iwae: the eight stages of Burda et al. 2016 (arXiv:1509.00519): stage i = 0…7 takes the share 3^i / 3280 of the run, at
      `learning_rate` · 10^(−i/7). The paper has 3,280 epochs from 1e-3.

    Raises:
        InputError: the learning rate is not positive and finite, or there is no such schedule.
    """
    if isinstance(learning_rate, float | int) and not 0 < learning_rate < float("inf"):
        raise InputError(f"The learning rate is {learning_rate}: give a positive number.")
    match name:
        case "constant":
            return optax.constant_schedule(learning_rate)
        case "cosine":
            return optax.cosine_decay_schedule(learning_rate, num_steps)
        case "linear-after-half":
            half = num_steps // 2
            line = optax.linear_schedule(learning_rate, 0.0, num_steps - half)
            return optax.join_schedules([optax.constant_schedule(learning_rate), line], [half])
        case "iwae":
            stages = [optax.constant_schedule(learning_rate * 10 ** (-i / 7)) for i in range(8)]
            # stage i begins after Σ_{j<i} 3^j = (3^i − 1) / 2 of the 3,280 parts
            starts = [round(num_steps * (3**i - 1) / 2 / 3280) for i in range(1, 8)]
            return optax.join_schedules(stages, starts)
        case _:
            raise unknown("schedule", name, get_args(ScheduleName))
