"""GANs on points of the plane and DCGANs in PyTorch, as their users write them: the peers of the benchmarks.

A step takes the networks that are trained, and optionally what is called in their place: the same networks, compiled. A penalty
is always of the network itself, since a compiled one cannot be differentiated twice.
"""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch_vae import mlp

Networks = Sequence[nn.Module]  # a generator and a discriminator
softplus = nn.functional.softplus


class Maxout(nn.Module):
    """A layer of units that are each the largest of a few linear functions."""

    def __init__(self, size_in: int, size_out: int, pieces: int = 5):
        super().__init__()
        self.linear, self.pieces = nn.Linear(size_in, pieces * size_out), pieces

    def forward(self, x: Tensor) -> Tensor:
        """Return the units of a batch."""
        return self.linear(x).view(len(x), self.pieces, -1).amax(dim=1)


def ring_networks() -> Networks:
    """4 x 400 with batch norm and ReLU; 3 x 200 of maxout-5."""
    layers: list[nn.Module] = []
    for size_in in (2, 400, 400, 400):
        layers += [nn.Linear(size_in, 400, bias=False), nn.BatchNorm1d(400), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(400, 2)), nn.Sequential(
        Maxout(2, 200), Maxout(200, 200), Maxout(200, 200), nn.Linear(200, 1)
    )


def wgan_networks() -> Networks:
    """MLPs of 3 x 512, ReLU."""
    return mlp(2, 512, 512, 512, 2, activation=nn.ReLU), mlp(2, 512, 512, 512, 1, activation=nn.ReLU)


def dcgan_networks(channels: Sequence[int], size: int, colours: int, latent_dim: int) -> Networks:
    """DCGAN: 4 x 4 convolutions of stride 2, with batch norm inside; the generator mirrors the discriminator."""
    small, (first, *_, last) = size // 2 ** len(channels), channels
    down: list[nn.Module] = [nn.Conv2d(colours, first, 4, 2, 1), nn.LeakyReLU(0.2)]
    up: list[nn.Module] = [nn.ReLU(), nn.ConvTranspose2d(first, colours, 4, 2, 1), nn.Tanh()]
    for before, after in itertools.pairwise(channels):
        down += [nn.Conv2d(before, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after), nn.LeakyReLU(0.2)]
        up = [nn.ReLU(), nn.ConvTranspose2d(after, before, 4, 2, 1, bias=False), nn.BatchNorm2d(before), *up]
    start = [nn.Linear(latent_dim, last * small**2, bias=False), nn.Unflatten(1, (last, small, small)), nn.BatchNorm2d(last)]
    return nn.Sequential(*start, *up), nn.Sequential(*down, nn.Flatten(), nn.Linear(last * small**2, 1))


def gradient_penalty(critic: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """Return the mean of (‖∇D(x̂)‖ − 1)² at random points between real and generated examples."""
    share = torch.rand(len(real), 1, device=real.device)
    between = (share * real + (1 - share) * fake).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return ((gradient.norm(dim=1) - 1) ** 2).mean()


def descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> Tensor:
    """Take a step of an optimizer, and return the loss."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


def wgan_step(networks: Networks, optimizers: Sequence, batches: Tensor, called: Networks | None = None) -> Tensor:
    """Take a generator step after k critic steps, each on one of the batches [k, B, 2]."""
    generate, judge = called or networks
    networks[1].requires_grad_(True)
    for real in batches:
        fake = generate(torch.randn(len(real), 2, device=real.device)).detach()
        of_real, of_fake = judge(torch.cat([real, fake])).chunk(2)
        penalty = gradient_penalty(networks[1], real, fake)
        descend(optimizers[1], of_fake.mean() - of_real.mean() + 10 * penalty)
    networks[1].requires_grad_(False)
    return descend(optimizers[0], -judge(generate(torch.randn(batches.shape[1], 2, device=batches.device))).mean())


def non_saturating_step(
    networks: Networks, optimizers: Sequence, real: Tensor, latent_dim: int, joint: bool, called: Networks | None = None
) -> Tensor:
    """Take a step of both networks of the non-saturating game; `joint`: real and generated examples are one batch."""
    generate, judge = called or networks
    draw = lambda: generate(torch.randn(len(real), latent_dim, device=real.device))
    networks[1].requires_grad_(True)
    fake = draw().detach()
    of_real, of_fake = judge(torch.cat([real, fake])).chunk(2) if joint else (judge(real), judge(fake))
    descend(optimizers[1], softplus(-of_real).mean() + softplus(of_fake).mean())
    networks[1].requires_grad_(False)
    return descend(optimizers[0], softplus(-judge(draw())).mean())
