"""MADE in PyTorch, as its users write it: the peer of the benchmark."""

import torch
from torch import Tensor, nn


class TorchMADE(nn.Module):
    """One hidden layer, direct links, Bernoulli conditionals, the natural order."""

    def __init__(self, dim: int = 784, hidden: int = 1000):
        super().__init__()
        inputs, units = torch.arange(dim), torch.arange(hidden) * (dim - 1) // hidden
        self.below, self.above, self.direct = nn.Linear(dim, hidden), nn.Linear(hidden, dim), nn.Linear(dim, dim, bias=False)
        self.register_buffer("mask_below", (units[:, None] >= inputs).float())
        self.register_buffer("mask_above", (inputs[:, None] > units).float())
        self.register_buffer("mask_direct", (inputs[:, None] > inputs).float())

    def logits(self, x: Tensor) -> Tensor:
        """Return the logit of each pixel given those before it."""
        hidden = torch.relu(nn.functional.linear(x, self.mask_below * self.below.weight, self.below.bias))
        direct = nn.functional.linear(x, self.mask_direct * self.direct.weight)
        return nn.functional.linear(hidden, self.mask_above * self.above.weight, self.above.bias) + direct

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean negative log-density of a batch."""
        return nn.functional.binary_cross_entropy_with_logits(self.logits(x), x, reduction="none").sum(-1).mean()
