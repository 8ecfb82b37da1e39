"""The reference VAEs in PyTorch, as its users write them: the peers of the benchmarks."""

import itertools

import torch
from torch import nn


def mlp(*sizes: int, activation: type[nn.Module]) -> nn.Sequential:
    """Linear layers with an activation between them."""
    layers: list[nn.Module] = []
    for size_in, size_out in itertools.pairwise(sizes):
        layers += [nn.Linear(size_in, size_out), activation()]
    return nn.Sequential(*layers[:-1])


def negative_elbo(encoder: nn.Module, decoder: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Return the negative ELBO of a batch, averaged over examples."""
    mean, log_variance = encoder(x).chunk(2, dim=-1)
    z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
    cross_entropy = nn.functional.binary_cross_entropy_with_logits(decoder(z), x, reduction="none")
    kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(-1)
    return (cross_entropy.flatten(1).sum(-1) + kl).mean()


class TorchVAE(nn.Module):
    """784-hidden-Z, the decoder mirrored, Bernoulli likelihood from logits."""

    def __init__(self, hidden: tuple[int, ...] = (512, 256), latent_dim: int = 20, activation: type[nn.Module] = nn.ReLU):
        super().__init__()
        self.encoder = mlp(784, *hidden, 2 * latent_dim, activation=activation)
        self.decoder = mlp(latent_dim, *hidden[::-1], 784, activation=activation)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the negative ELBO of a batch, averaged over examples."""
        return negative_elbo(self.encoder, self.decoder, x)

    @torch.no_grad()
    def log_likelihood(self, x: torch.Tensor, num_samples: int, at_once: int) -> torch.Tensor:
        """Return the importance-weighted log p(x) of each image, in a Python loop over images.

        Each pass through encoder and decoder takes `at_once` copies of one image.
        """
        estimates = []
        for image in x:
            weights = []
            for _ in range(num_samples // at_once):
                copies = image.expand(at_once, -1)
                mean, log_variance = self.encoder(copies).chunk(2, dim=-1)
                noise = torch.randn_like(mean)
                z = mean + torch.exp(0.5 * log_variance) * noise
                log_q = (-0.5 * noise**2 - 0.5 * log_variance).sum(-1)
                log_prior = (-0.5 * z**2).sum(-1)
                cross_entropy = nn.functional.binary_cross_entropy_with_logits(self.decoder(z), copies, reduction="none")
                weights.append(-cross_entropy.sum(-1) + log_prior - log_q)
            estimates.append(torch.logsumexp(torch.cat(weights), 0) - torch.log(torch.tensor(float(num_samples))))
        return torch.stack(estimates)


class TorchConvVAE(nn.Module):
    """The β-VAE of Burgess et al. (2018) for 64 × 64 pixels, β = 1: four convolutions of 32 channels, the decoder mirrored."""

    def __init__(self, latent_dim: int = 10):
        super().__init__()
        encoder: list[nn.Module] = []
        decoder: list[nn.Module] = []
        for before, after in itertools.pairwise((1, 32, 32, 32, 32)):
            encoder += [nn.Conv2d(before, after, kernel_size=4, stride=2, padding=1), nn.ReLU()]
            decoder = [nn.ReLU(), nn.ConvTranspose2d(after, before, kernel_size=4, stride=2, padding=1), *decoder]
        self.encoder = nn.Sequential(*encoder, nn.Flatten(), mlp(512, 256, 256, 2 * latent_dim, activation=nn.ReLU))
        self.decoder = nn.Sequential(mlp(latent_dim, 256, 256, 512, activation=nn.ReLU), nn.Unflatten(1, (32, 4, 4)), *decoder)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the negative ELBO of a batch [N, 1, 64, 64], averaged over examples."""
        return negative_elbo(self.encoder, self.decoder, x)
