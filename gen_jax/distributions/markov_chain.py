"""Markov chains of latent variables: the posteriors and priors of hierarchical models."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

from gen_jax.types import Array, Key, Params, Posterior


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class MarkovChain:
    """The distribution of a tuple z = (z_1, …, z_L) in which each variable depends on the one before it.

    log p(z) = log p(z_1) + Σ_l log p(z_l | z_{l−1}),  or, with `last_first`,  log p(z_L) + Σ_l log p(z_l | z_{l+1})

    Attributes:
        first: the distribution of the variable that is drawn first.
        params: the parameters of the L − 1 kernels, in the order of drawing.
        kernels: the L − 1 conditionals, (params, previous variable) -> distribution.
        last_first: z_L is drawn first and z_1 last.
    """

    first: Posterior
    params: tuple[Params, ...]
    kernels: tuple[Callable[..., Posterior], ...] = dataclasses.field(metadata={"static": True})
    last_first: bool = dataclasses.field(default=False, metadata={"static": True})

    def sample(self, key: Key) -> tuple[Any, ...]:
        """Draw z."""
        return self.sample_and_log_prob(key)[0]

    def sample_and_log_prob(self, key: Key) -> tuple[tuple[Any, ...], Float[Array, ""]]:
        """Draw z and return (z, log p(z))."""
        keys = jax.random.split(key, len(self.kernels) + 1)
        part, total = self.first.sample_and_log_prob(keys[0])
        parts = [part]
        for key, kernel, params in zip(keys[1:], self.kernels, self.params, strict=True):
            part, log_prob = kernel(params, parts[-1]).sample_and_log_prob(key)
            parts.append(part)
            total = total + log_prob
        return self._ordered(parts), total

    def redraw(self, key: Key, value: tuple[Any, ...], num_kept: int) -> tuple[Any, ...]:
        """Return `value` with its first `num_kept` ≥ 1 variables, in the order of drawing, kept, and the others drawn again."""
        parts = self._ordered(value)[:num_kept]
        for i in range(num_kept - 1, len(self.kernels)):
            parts += (self.kernels[i](self.params[i], parts[-1]).sample(jax.random.fold_in(key, i)),)
        return self._ordered(parts)

    def log_prob(self, value: tuple[Any, ...]) -> Float[Array, ""]:
        """Return log p(value) in nats."""
        terms = [conditional.log_prob(part) for conditional, part in zip(self.conditionals(value), value, strict=True)]
        return jnp.sum(jnp.stack(terms))

    def conditionals(self, value: tuple[Any, ...]) -> tuple[Posterior, ...]:
        """Return the distribution of each variable given the variable of `value` that is drawn before it."""
        drawn = self._ordered(value)
        later = [kernel(p, part) for kernel, p, part in zip(self.kernels, self.params, drawn[:-1], strict=True)]
        return self._ordered([self.first, *later])

    def _ordered(self, parts: Sequence[Any]) -> tuple[Any, ...]:
        """Convert from the order of the event to the order of drawing, or back."""
        return tuple(parts[::-1] if self.last_first else parts)
