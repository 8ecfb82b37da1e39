"""CycleGAN, a grown progressive GAN and both StyleGANs in PyTorch, as its users write them: the peers of the benchmark.

Images are [B, C, H, W]. `tests/test_torch_peers.py` holds the networks to the library's, with the same parameters.
"""

import itertools
import random
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

SQRT2 = 2**0.5


class EqualLinear(nn.Module):
    """A linear layer with an equalised learning rate, which a multiplier slows down."""

    def __init__(self, size_in: int, size_out: int, multiplier: float = 1.0, bias: float = 0.0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(size_out, size_in) / multiplier)
        self.bias = nn.Parameter(torch.full((size_out,), bias / multiplier))
        self.scale, self.multiplier = multiplier * size_in**-0.5, multiplier

    def forward(self, x: Tensor) -> Tensor:
        """Return the output for each row."""
        bias = self.bias if self.multiplier == 1 else self.bias * self.multiplier
        return F.linear(x, self.weight * self.scale, bias)


class EqualConv2d(nn.Module):
    """A convolution with an equalised learning rate; its output has the size of its input."""

    def __init__(self, size_in: int, size_out: int, kernel_size: int = 3):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(size_out, size_in, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(size_out))
        self.scale, self.padding = size_in**-0.5 / kernel_size, kernel_size // 2

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution."""
        return F.conv2d(x, self.weight * self.scale, self.bias, padding=self.padding)


class ModulatedConv2d(nn.Module):
    """A convolution whose kernel is scaled by a style and demodulated, by scaling its input and its output."""

    def __init__(self, size_in: int, size_out: int, style_size: int, kernel_size: int = 3, demodulate: bool = True):
        super().__init__()
        self.style = EqualLinear(style_size, size_in, bias=1.0)
        self.weight = nn.Parameter(torch.randn(size_out, size_in, kernel_size, kernel_size))
        self.scale, self.padding, self.demodulate = size_in**-0.5 / kernel_size, kernel_size // 2, demodulate

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Return the convolution of each example by its style."""
        style, weight = self.style(w), self.weight * self.scale
        y = F.conv2d(x * style[:, :, None, None], weight, padding=self.padding)
        if not self.demodulate:
            return y
        return y * torch.rsqrt(style.square() @ weight.square().sum((2, 3)).T + 1e-8)[:, :, None, None]


class Noise(nn.Module):
    """One channel of noise, with a learned strength for each channel of the image."""

    def __init__(self, channels: int):
        super().__init__()
        self.strength = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return x and noise."""
        return x + self.strength * torch.randn(len(x), 1, *x.shape[2:], device=x.device)


class Blur(nn.Module):
    """[1, 2, 1] / 4 along rows and columns, with the edge repeated."""

    def __init__(self):
        super().__init__()
        row = torch.tensor([0.25, 0.5, 0.25])
        self.register_buffer("kernel", row[:, None] * row, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return x blurred, in the way that is faster on its device; compiled (2.13), the gradient of the padding fails."""
        return self.in_groups(x) if x.is_cuda and not torch.compiler.is_compiling() else self.by_slices(x)

    def in_groups(self, x: Tensor) -> Tensor:
        """One depthwise convolution, which on a CPU is slow to differentiate twice."""
        channels = x.shape[1]
        return F.conv2d(F.pad(x, (1,) * 4, mode="replicate"), self.kernel.expand(channels, 1, 3, 3), groups=channels)

    def by_slices(self, x: Tensor) -> Tensor:
        """Sums of shifted images."""
        x = (torch.cat([x[:, :, :1], x[:, :, :-1]], 2) + 2 * x + torch.cat([x[:, :, 1:], x[:, :, -1:]], 2)) / 4
        return (torch.cat([x[..., :1], x[..., :-1]], 3) + 2 * x + torch.cat([x[..., 1:], x[..., -1:]], 3)) / 4


def leaky(x: Tensor) -> Tensor:
    """Return √2 · leaky ReLU."""
    return SQRT2 * F.leaky_relu(x, 0.2)


def pixel_norm(x: Tensor) -> Tensor:
    """Return x divided by its root mean square over channels."""
    return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)


def double(x: Tensor) -> Tensor:
    """Return images of twice the size, by nearest neighbours."""
    return F.interpolate(x, scale_factor=2, mode="nearest")


def padded(x: Tensor, size: int) -> Tensor:
    """Return images padded with −1 to a size."""
    low, high = (size - x.shape[2]) // 2, (size - x.shape[2] + 1) // 2
    return F.pad(x, (low, high, low, high), value=-1) if high else x


def cropped(x: Tensor, size: int) -> Tensor:
    """Return the middle of images."""
    low = (x.shape[2] - size) // 2
    return x[:, :, low : low + size, low : low + size]


def translator(channels: int, width: int, num_halvings: int, num_blocks: int) -> nn.Sequential:
    """The residual generator of CycleGAN, images in [−1, 1]."""
    normed = lambda layer: [layer, nn.InstanceNorm2d(layer.out_channels), nn.ReLU()]
    widths = [width * 2**i for i in range(num_halvings + 1)]
    layers = [nn.ReflectionPad2d(3), *normed(nn.Conv2d(channels, width, 7, bias=False))]
    for size_in, size_out in itertools.pairwise(widths):
        layers += normed(nn.Conv2d(size_in, size_out, 3, 2, 1, bias=False))
    layers += [TranslatorBlock(widths[-1]) for _ in range(num_blocks)]
    for size_in, size_out in itertools.pairwise(widths[::-1]):
        layers += normed(nn.ConvTranspose2d(size_in, size_out, 3, 2, 1, output_padding=1, bias=False))
    return nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(width, channels, 7), nn.Tanh())


class TranslatorBlock(nn.Module):
    """Two convolutions with instance norm, added to their input."""

    def __init__(self, width: int):
        super().__init__()
        layer = lambda: [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3, bias=False), nn.InstanceNorm2d(width)]
        self.layers = nn.Sequential(*layer(), nn.ReLU(), *layer())

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum."""
        return x + self.layers(x)


def patch_discriminator(channels: int, width: int, num_halvings: int) -> nn.Sequential:
    """The PatchGAN: logits [B, 1, P, Q]."""
    layers: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2)]
    widths = [width * min(2**i, 8) for i in range(num_halvings + 1)]
    for number, (size_in, size_out) in enumerate(itertools.pairwise(widths), start=1):
        stride = 2 if number < num_halvings else 1
        layers += [nn.Conv2d(size_in, size_out, 4, stride, 1, bias=False), nn.InstanceNorm2d(size_out), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, 1, 1))


class GrowingGenerator(nn.Module):
    """The fully grown generator of the progressive GAN, from z to an image of the last stage; `channels` has all stages."""

    def __init__(self, channels: Sequence[int], colours: int, latent_dim: int):
        super().__init__()
        self.dense = EqualLinear(latent_dim, 16 * channels[0])
        self.first = EqualConv2d(channels[0], channels[0])
        self.blocks = nn.ModuleList(
            nn.ModuleList([EqualConv2d(size_in, size_out), EqualConv2d(size_out, size_out)])
            for size_in, size_out in itertools.pairwise(channels)
        )
        self.to_image = EqualConv2d(channels[-1], colours, 1)

    def forward(self, z: Tensor) -> Tensor:
        """Return an image for each z."""
        h = pixel_norm(leaky(self.dense(pixel_norm(z)).view(len(z), -1, 4, 4)))
        h = pixel_norm(leaky(self.first(h)))
        for block in self.blocks:
            h = double(h)
            for layer in block:
                h = pixel_norm(leaky(layer(h)))
        return self.to_image(h)


class Head(nn.Module):
    """From features of 4 × 4 to a logit, with the standard deviation in groups of four examples as a further channel.

    An example that is seen `alone` has the running mean of that instead.
    """

    def __init__(self, features: int):
        super().__init__()
        self.conv = EqualConv2d(features + 1, features)
        self.dense, self.logit = EqualLinear(16 * features, features), EqualLinear(features, 1)
        self.register_buffer("spread", torch.zeros(()))

    def forward(self, h: Tensor, alone: bool = False) -> Tensor:
        """Return a logit for each example."""
        spread = self.spread.expand(len(h))
        if not alone:
            size = 4 if len(h) % 4 == 0 else len(h)
            variance = h.view(-1, size, *h.shape[1:]).var(1, unbiased=False)
            spread = (variance + 1e-8).sqrt().mean((1, 2, 3)).repeat_interleave(size)
            self.spread.lerp_(spread.detach().mean(), 0.1)
        h = torch.cat([h, spread[:, None, None, None].expand(-1, 1, 4, 4)], 1)
        return self.logit(leaky(self.dense(leaky(self.conv(h)).flatten(1))))[:, 0]


class GrowingDiscriminator(nn.Module):
    """The fully grown discriminator of the progressive GAN, and of StyleGAN, which blurs before it halves."""

    def __init__(self, channels: Sequence[int], colours: int, blurred: bool):
        super().__init__()
        self.size = 4 * 2 ** (len(channels) - 1)
        self.from_image = EqualConv2d(colours, channels[-1], 1)
        self.blocks = nn.ModuleList(
            nn.ModuleList([EqualConv2d(size_in, size_in), EqualConv2d(size_in, size_out)])
            for size_in, size_out in itertools.pairwise(channels[::-1])
        )
        self.blur = Blur() if blurred else nn.Identity()
        self.head = Head(channels[0])

    def forward(self, x: Tensor, alone: bool = False) -> Tensor:
        """Return a logit for each image."""
        h = leaky(self.from_image(padded(x, self.size)))
        for first, second in self.blocks:
            h = F.avg_pool2d(self.blur(leaky(second(leaky(first(h))))), 2)
        return self.head(h, alone)


class ResidualDiscriminator(nn.Module):
    """The discriminator of StyleGAN 2."""

    def __init__(self, channels: Sequence[int], colours: int):
        super().__init__()
        self.size = 4 * 2 ** (len(channels) - 1)
        self.from_image = EqualConv2d(colours, channels[-1], 1)
        self.blocks = nn.ModuleList(
            nn.ModuleList([EqualConv2d(size_in, size_in), EqualConv2d(size_in, size_out), EqualConv2d(size_in, size_out, 1)])
            for size_in, size_out in itertools.pairwise(channels[::-1])
        )
        self.blur = Blur()
        self.head = Head(channels[0])

    def forward(self, x: Tensor, alone: bool = False) -> Tensor:
        """Return a logit for each image."""
        h = leaky(self.from_image(padded(x, self.size)))
        for first, second, skip in self.blocks:
            inner = F.avg_pool2d(self.blur(leaky(second(leaky(first(h))))), 2)
            h = (skip(F.avg_pool2d(self.blur(h), 2)) + inner) / SQRT2
        return self.head(h, alone)


class StyleLayer(nn.Module):
    """Noise, leaky ReLU, adaptive instance norm."""

    def __init__(self, channels: int, style_size: int):
        super().__init__()
        self.noise, self.style = Noise(channels), EqualLinear(style_size, 2 * channels)

    def forward(self, h: Tensor, w: Tensor, noise: bool) -> Tensor:
        """Return each example in its style."""
        scale, shift = self.style(w)[:, :, None, None].chunk(2, 1)
        return (1 + scale) * F.instance_norm(leaky(self.noise(h) if noise else h)) + shift


class StyleSynthesis(nn.Module):
    """The synthesis network of StyleGAN at full size; images are cropped to the size of the data."""

    def __init__(self, channels: Sequence[int], colours: int, style_size: int, size: int):
        super().__init__()
        self.size, self.num_layers = size, 2 * len(channels)
        self.constant = nn.Parameter(torch.ones(channels[0], 4, 4))
        pairs = [size for stage in itertools.pairwise(channels) for size in (stage, (stage[1], stage[1]))]
        self.convs = nn.ModuleList(EqualConv2d(*pair) for pair in [(channels[0], channels[0]), *pairs])
        self.styles = nn.ModuleList(StyleLayer(of_stage, style_size) for of_stage in channels for _ in range(2))
        self.blur, self.to_image = Blur(), EqualConv2d(channels[-1], colours, 1)

    def forward(self, w: Tensor, noise: bool = True) -> Tensor:
        """Return an image for the styles of all layers [B, L, W]."""
        h = self.styles[0](self.constant.expand(len(w), -1, -1, -1), w[:, 0], noise)
        for layer, conv in enumerate(self.convs, start=1):
            h = self.blur(conv(double(h))) if layer % 2 == 0 else conv(h)
            h = self.styles[layer](h, w[:, layer], noise)
        return cropped(torch.tanh(self.to_image(h)), self.size)


class SkipLayer(nn.Module):
    """Modulated convolution, noise, bias, leaky ReLU."""

    def __init__(self, size_in: int, size_out: int, style_size: int):
        super().__init__()
        self.conv, self.noise = ModulatedConv2d(size_in, size_out, style_size), Noise(size_out)
        self.bias = nn.Parameter(torch.zeros(size_out, 1, 1))

    def forward(self, h: Tensor, w: Tensor, noise: bool) -> Tensor:
        """Return each example in its style."""
        h = self.conv(h, w)
        return leaky((self.noise(h) if noise else h) + self.bias)


class SkipSynthesis(nn.Module):
    """The synthesis network of StyleGAN 2, whose image is the sum of those of all stages, cropped to the size of the data."""

    def __init__(self, channels: Sequence[int], colours: int, style_size: int, size: int):
        super().__init__()
        self.size, self.num_layers = size, 2 * len(channels)
        self.constant, self.bias = nn.Parameter(torch.randn(channels[0], 4, 4)), nn.Parameter(torch.zeros(colours, 1, 1))
        pairs = [size for stage in itertools.pairwise(channels) for size in (stage, (stage[1], stage[1]))]
        self.layers = nn.ModuleList(SkipLayer(*pair, style_size) for pair in [(channels[0], channels[0]), *pairs])
        self.to_image = nn.ModuleList(ModulatedConv2d(of_stage, colours, style_size, 1, False) for of_stage in channels)
        self.blur = Blur()

    def forward(self, w: Tensor, noise: bool = True) -> Tensor:
        """Return an image for the styles of all layers [B, L, W]."""
        h = self.layers[0](self.constant.expand(len(w), -1, -1, -1), w[:, 0], noise)
        image = self.to_image[0](h, w[:, 1])
        for layer, to_image in zip(range(1, len(self.layers), 2), self.to_image[1:], strict=True):
            h = self.layers[layer](self.blur(double(h)), w[:, layer], noise)
            h = self.layers[layer + 1](h, w[:, layer + 1], noise)
            image = self.blur(double(image)) + to_image(h, w[:, layer + 2])
        return cropped(torch.tanh(image + self.bias), self.size)


class StyleGenerator(nn.Module):
    """A mapping network and a synthesis network; in training, styles are mixed."""

    def __init__(self, synthesis: StyleSynthesis | SkipSynthesis, latent_dim: int, mapping_layers: int, mixing: float = 0.9):
        super().__init__()
        self.synthesis, self.mixing = synthesis, mixing
        self.layers = nn.ModuleList(EqualLinear(latent_dim, latent_dim, 0.01) for _ in range(mapping_layers))
        self.register_buffer("mean_w", torch.zeros(latent_dim))

    def mapping(self, z: Tensor) -> Tensor:
        """Return w for each z."""
        h = pixel_norm(z)
        for layer in self.layers:
            h = leaky(layer(h))
        return h

    def for_layers(self, w: Tensor) -> Tensor:
        """Return the same style for all layers."""
        return w[:, None].expand(-1, self.synthesis.num_layers, -1)

    def forward(self, z: Tensor, noise: bool = True) -> Tensor:
        """Return an image for each z."""
        w = self.mapping(z)
        styles = self.for_layers(w)
        if self.training:
            self.mean_w.lerp_(w.detach().mean(0), 0.005)
            num, device = self.synthesis.num_layers, z.device
            other = self.mapping(torch.randn_like(z))
            mixed = torch.rand(len(z), device=device) < self.mixing
            first = torch.where(mixed, torch.randint(1, num, (len(z),), device=device), num)
            before = torch.arange(num, device=device) < first[:, None]
            styles = torch.where(before[:, :, None], styles, other[:, None])
        return self.synthesis(styles, noise)


def r1_penalty(discriminator: nn.Module, x: Tensor) -> Tensor:
    """Return the mean of ‖∇D(x)‖², of D on each image alone."""
    x = x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(discriminator(x, alone=True).sum(), x, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean()


def gradient_penalty(discriminator: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """Return the mean of (‖∇D(x̂)‖ − 1)² at random points between real and generated images, of D on each image alone."""
    share = torch.rand(len(real), 1, 1, 1, device=real.device)
    between = (share * real + (1 - share) * fake).requires_grad_()
    (gradient,) = torch.autograd.grad(discriminator(between, alone=True).sum(), between, create_graph=True)
    return ((gradient.square().sum((1, 2, 3)) + 1e-12).sqrt() - 1).square().mean()


def path_lengths(synthesis: nn.Module, styles: Tensor, y: Tensor, noise: bool = True) -> Tensor:
    """Return √(mean over layers of ‖∂⟨x, y⟩ / ∂w‖² / pixels) of each example, for y ~ N(0, I)."""
    x = synthesis(styles, noise)
    projected = (x * y).sum() * (x.shape[2] * x.shape[3]) ** -0.5
    (gradient,) = torch.autograd.grad(projected, styles, create_graph=True)
    return (gradient.square().sum(2).mean(1) + 1e-12).sqrt()


class Game(ABC):
    """A discriminator's step and then a generator's, with Adam, and a moving average of the generator.

    Compiled networks cannot be differentiated twice, so penalties are those of the networks as they are.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        learning_rate: float,
        betas: tuple[float, float],
        ema_decay: float | None = None,
        compiled: bool = False,
    ):
        self.generator, self.discriminator = generator, discriminator
        self.generate, self.discriminate = generator, discriminator
        if compiled:
            self.generate, self.discriminate = torch.compile(generator), torch.compile(discriminator)
        self.optimizers = [torch.optim.Adam(net.parameters(), learning_rate, betas) for net in (discriminator, generator)]
        self.average = AveragedModel(generator, multi_avg_fn=get_ema_multi_avg_fn(ema_decay)) if ema_decay else None

    def step(self, x: Tensor, number: int) -> Tensor:
        """Take a step on a batch, and return the generator's loss."""
        for optimizer, loss_of in zip(self.optimizers, (self.discriminator_loss, self.generator_loss), strict=True):
            self.discriminator.requires_grad_(optimizer is self.optimizers[0])
            loss = loss_of(x, number)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.generator)
        return loss.detach()

    @abstractmethod
    def discriminator_loss(self, x: Tensor, number: int) -> Tensor:
        """Return its loss at a step."""

    @abstractmethod
    def generator_loss(self, x: Tensor, number: int) -> Tensor:
        """Return its loss at a step."""


class ImagePool:
    """Translations of earlier steps: half of what is shown is older (Shrivastava et al. 2017)."""

    def __init__(self, size: int):
        self.size, self.images = size, []

    def __call__(self, images: Tensor) -> Tensor:
        """Return the images to show."""
        shown = []
        for image in images:
            if len(self.images) < self.size:
                self.images.append(image)
            elif random.random() < 0.5:
                place = random.randrange(self.size)
                self.images[place], image = image, self.images[place]
            shown.append(image)
        return torch.stack(shown)


class CycleGame(Game):
    """CycleGAN; x has the channels of an image of A and those of one of B.

    Translations are made once for both losses, since the discriminators' step does not change them.
    """

    def __init__(self, generators: Sequence[nn.Module], discriminators: Sequence[nn.Module], pool_size: int = 50, **options):
        super().__init__(nn.ModuleList(generators), nn.ModuleList(discriminators), **{**options, "compiled": False})
        compiled = torch.compile if options.get("compiled") else lambda net: net
        self.a_to_b, self.b_to_a = map(compiled, generators)
        self.of_a, self.of_b = map(compiled, discriminators)
        self.pools = [ImagePool(pool_size) for _ in discriminators]

    def discriminator_loss(self, x: Tensor, number: int) -> Tensor:
        """Return ½ E[(D(x) − 1)²] + ½ E[D(pooled)²], summed over both domains."""
        real_a, real_b = x.chunk(2, 1)
        self.fake_b, self.same_b = self.a_to_b(torch.cat([real_a, real_b])).chunk(2)
        self.fake_a, self.same_a = self.b_to_a(torch.cat([real_b, real_a])).chunk(2)
        on_a = self.of_a(torch.cat([real_a, self.pools[0](self.fake_a.detach())])).chunk(2)
        on_b = self.of_b(torch.cat([real_b, self.pools[1](self.fake_b.detach())])).chunk(2)
        return sum(0.5 * ((on_real - 1).square().mean() + on_fake.square().mean()) for on_real, on_fake in (on_a, on_b))

    def generator_loss(self, x: Tensor, number: int) -> Tensor:
        """Return E[(D(fake) − 1)²] + 10 · cycle + 5 · identity, summed over both directions."""
        real_a, real_b = x.chunk(2, 1)
        adversarial = (self.of_a(self.fake_a) - 1).square().mean() + (self.of_b(self.fake_b) - 1).square().mean()
        cycle = F.l1_loss(self.b_to_a(self.fake_b), real_a) + F.l1_loss(self.a_to_b(self.fake_a), real_b)
        identity = F.l1_loss(self.same_a, real_a) + F.l1_loss(self.same_b, real_b)
        return adversarial + 10 * cycle + 5 * identity


class GrownGame(Game):
    """The Wasserstein game with gradient penalty and drift, of a progressive GAN that is fully grown."""

    def __init__(self, *networks: nn.Module, latent_dim: int, **options):
        super().__init__(*networks, **options)
        self.latent_dim = latent_dim

    def draw(self, x: Tensor) -> Tensor:
        """Return as many latents as there are images."""
        return torch.randn(len(x), self.latent_dim, device=x.device)

    def discriminator_loss(self, x: Tensor, number: int) -> Tensor:
        """Return E[D(fake)] − E[D(x)] + 0.001 E[D(x)²] + 10 · penalty."""
        with torch.no_grad():
            fake = self.generate(self.draw(x))
        x = padded(x, fake.shape[2])
        on_real, on_fake = self.discriminate(x), self.discriminate(fake)
        penalty = gradient_penalty(self.discriminator, x, fake)
        return on_fake.mean() - on_real.mean() + 0.001 * on_real.square().mean() + 10 * penalty

    def generator_loss(self, x: Tensor, number: int) -> Tensor:
        """Return −E[D(fake)]."""
        return -self.discriminate(self.generate(self.draw(x))).mean()


class StyleGame(GrownGame):
    """The non-saturating game with R1, of a StyleGAN; with path-length regularisation, of its second version.

    Both penalties are part of every fourth step, with four times their weight.
    """

    def __init__(self, *networks: nn.Module, penalty_weight: float, path_weight: float = 0.0, **options):
        super().__init__(*networks, **options)
        self.penalty_weight = penalty_weight
        self.path_weight, self.mean_length = path_weight, torch.zeros((), device=next(networks[0].parameters()).device)

    def discriminator_loss(self, x: Tensor, number: int) -> Tensor:
        """Return E[softplus(−D(x))] + E[softplus(D(fake))] and the weighted R1."""
        with torch.no_grad():
            fake = self.generate(self.draw(x))
        loss = F.softplus(-self.discriminate(x)).mean() + F.softplus(self.discriminate(fake)).mean()
        return loss if number % 4 else loss + 4 * self.penalty_weight * r1_penalty(self.discriminator, x)

    def generator_loss(self, x: Tensor, number: int) -> Tensor:
        """Return E[softplus(−D(fake))] and the weighted mean of (length − a)², of half a batch."""
        loss = F.softplus(-self.discriminate(self.generate(self.draw(x)))).mean()
        if number % 4 or not self.path_weight:
            return loss
        styles = self.generator.for_layers(self.generator.mapping(self.draw(x[::2])))
        lengths = path_lengths(self.generator.synthesis, styles, torch.randn_like(x[::2]))
        self.mean_length.lerp_(lengths.detach().mean(), 0.01)
        return loss + 4 * self.path_weight * (lengths - self.mean_length).square().mean()
