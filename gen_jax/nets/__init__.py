"""The Flax (linen) modules. Models take them by their `init` and `apply`; no other package imports Flax."""

from gen_jax.nets.batch import batch_net, in_bfloat16
from gen_jax.nets.conv_nets import (
    Conv,
    ConvDecoder,
    ConvEncoder,
    ConvTranspose,
    ResidualBlock,
    SpatialDecoder,
    SpatialEncoder,
    halved_size,
)
from gen_jax.nets.gan_images import (
    DCGANDiscriminator,
    DCGANGenerator,
    DownBlock,
    ResidualDiscriminator,
    ResidualGenerator,
    UpBlock,
    upsample,
)
from gen_jax.nets.gan_nets import DiscriminatorHead, MaxoutDiscriminator, MLPDiscriminator, MLPGenerator
from gen_jax.nets.growing_nets import GrowingDiscriminator, GrowingGenerator, Stage
from gen_jax.nets.masked import (
    AutoregressiveNet,
    Degrees,
    LostDependencies,
    MaskedMLP,
    autoregressive_net,
    check_degrees,
    check_hidden_sizes,
    draw_degrees,
    hidden_units,
    lost_dependencies,
    natural_degrees,
    spread_degrees,
)
from gen_jax.nets.mlp import MLP, near_zero
from gen_jax.nets.style_layers import (
    AdaptiveInstanceNorm,
    EqualConv,
    EqualDense,
    ModulatedConv,
    Noise,
    blur,
    halve,
    minibatch_std,
    pixel_norm,
)
from gen_jax.nets.style_nets import Mapping, ResidualStyleDiscriminator, SkipSynthesis, StyleSynthesis
from gen_jax.nets.translation_nets import PatchDiscriminator, TranslationGenerator, instance_norm, reflection_padding
