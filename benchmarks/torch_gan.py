"""GANs on points of the plane in PyTorch, as its users write them: the peers of the benchmark."""

import torch
from torch import nn
from torch_vae import mlp


class Maxout(nn.Module):
    """A layer of units that are each the largest of a few linear functions."""

    def __init__(self, size_in: int, size_out: int, pieces: int = 5):
        super().__init__()
        self.linear, self.pieces = nn.Linear(size_in, pieces * size_out), pieces

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the units of a batch."""
        return self.linear(x).view(len(x), self.pieces, -1).amax(dim=1)


def ring_networks() -> tuple[nn.Module, nn.Module]:
    """4 x 400 with batch norm and ReLU; 3 x 200 of maxout-5."""
    layers: list[nn.Module] = []
    for size_in in (2, 400, 400, 400):
        layers += [nn.Linear(size_in, 400, bias=False), nn.BatchNorm1d(400), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(400, 2)), nn.Sequential(
        Maxout(2, 200), Maxout(200, 200), Maxout(200, 200), nn.Linear(200, 1)
    )


def wgan_networks() -> tuple[nn.Module, nn.Module]:
    """MLPs of 3 x 512, ReLU."""
    return mlp(2, 512, 512, 512, 2, activation=nn.ReLU), mlp(2, 512, 512, 512, 1, activation=nn.ReLU)


def gradient_penalty(critic: nn.Module, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """Return the mean of (‖∇D(x̂)‖ − 1)² at random points between real and generated examples."""
    share = torch.rand(len(real), 1)
    between = (share * real + (1 - share) * fake).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return ((gradient.norm(dim=1) - 1) ** 2).mean()


def train_wgan(networks: tuple[nn.Module, nn.Module], optimizers: tuple, batches: torch.Tensor) -> float:
    """Take a generator step for each of the batches [steps, k, B, 2], after its k critic steps."""
    generator, critic = networks
    for critic_batches in batches:
        for real in critic_batches:
            fake = generator(torch.randn(len(real), 2)).detach()
            of_real, of_fake = critic(torch.cat([real, fake])).chunk(2)
            loss = of_fake.mean() - of_real.mean() + 10 * gradient_penalty(critic, real, fake)
            optimizers[1].zero_grad()
            loss.backward()
            optimizers[1].step()
        loss = -critic(generator(torch.randn(batches.shape[2], 2))).mean()
        optimizers[0].zero_grad()
        loss.backward()
        optimizers[0].step()
    return loss.item()


def train_ring(networks: tuple[nn.Module, nn.Module], optimizers: tuple, batches: torch.Tensor) -> float:
    """Take a step of both networks of the non-saturating game for each of the batches [steps, 1, B, 2]."""
    generator, discriminator = networks
    softplus = nn.functional.softplus
    for real in batches[:, 0]:
        fake = generator(torch.randn(len(real), 2)).detach()
        of_real, of_fake = discriminator(torch.cat([real, fake])).chunk(2)
        loss = softplus(-of_real).mean() + softplus(of_fake).mean()
        optimizers[1].zero_grad()
        loss.backward()
        optimizers[1].step()
        loss = softplus(-discriminator(generator(torch.randn(len(real), 2)))).mean()
        optimizers[0].zero_grad()
        loss.backward()
        optimizers[0].step()
    return loss.item()
