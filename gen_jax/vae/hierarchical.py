"""VAEs with several layers of latents z = (z_1, …, z_L), a tuple; z_1 is next to the data.

`bottom_up_vae` and `ladder_vae` have p(x, z) = p(x|z_1) p(z_1|z_2) … p(z_L), and q draws the layers in opposite orders. The deep
latent Gaussian model has independent layers instead.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

from gen_jax.distributions import MarkovChain, Normal
from gen_jax.types import VAE, Array, InputError, Key, Net, Params, Predictive
from gen_jax.vae.latents import gaussian_posterior, gaussian_prior
from gen_jax.vae.likelihoods import Likelihood


def bottom_up_vae(
    inference: Sequence[Net], generation: Sequence[Net], decoder: Net, latent_dims: Sequence[int], likelihood: Likelihood
) -> VAE:
    """Return the VAE with q(z|x) = q(z_1|x) q(z_2|z_1) … q(z_L|z_{L−1}), all normal (Burda et al. 2016, arXiv:1509.00519, §5).

    Args:
        inference: L nets: x -> [2, Z_1], then z_l -> [2, Z_{l+1}]; the rows are μ and log σ².
        generation: L − 1 nets: z_{l+1} -> [2, Z_l], for l = 1 … L − 1.
        decoder: z_1 -> what the likelihood takes.
        latent_dims: Z_1 … Z_L.
        likelihood: p(x|z_1).

    Raises:
        InputError: the numbers of nets do not fit the number of layers.
    """
    _check_layers(latent_dims, {"inference": inference}, {"generation": generation})
    kernels = tuple(_normal_kernel(net, gaussian_posterior) for net in inference[1:])

    def init_encoder(key: Key, x: Array, context: Any) -> Params:
        return _init_nets(inference, key, [x, *_zeros(latent_dims[:-1])], context)

    def encode(params: Params, x: Array, context: Any = None) -> MarkovChain:
        first, *rest = params["encoder"]
        q_1 = gaussian_posterior(*inference[0].apply(first, x, context))
        return MarkovChain(q_1, tuple((p, context) for p in rest), kernels)

    return _top_down_generation(init_encoder, encode, generation, decoder, latent_dims, likelihood)


def ladder_vae(
    trunk: Sequence[Net],
    heads: Sequence[Net],
    generation: Sequence[Net],
    decoder: Net,
    latent_dims: Sequence[int],
    likelihood: Likelihood,
) -> VAE:
    """Return the ladder VAE, q(z|x) = q(z_L|x) Π_l q(z_l|z_{l+1}, x), which shares p(z_l|z_{l+1}) (Sønderby et al. 2016).

    The data's estimate of layer l, N(μ̂_l(x), σ̂_l²(x)), is merged with the prior given the layer above, N(μ_p, σ_p²):

        σ_l⁻² = σ̂_l⁻² + σ_p⁻²,    μ_l = σ_l² (μ̂_l σ̂_l⁻² + μ_p σ_p⁻²)            (arXiv:1602.02282, eq. 17–19)

    Args:
        trunk: L nets: x -> d_1, then d_l -> d_{l+1}, flat vectors.
        heads: L nets: d_l -> [2, Z_l], the rows μ̂_l and log σ̂_l².
        generation: L − 1 nets: z_{l+1} -> [2, Z_l].
        decoder: z_1 -> what the likelihood takes.
        latent_dims: Z_1 … Z_L.
        likelihood: p(x|z_1).

    Raises:
        InputError: the numbers of nets do not fit the number of layers.
    """
    _check_layers(latent_dims, {"trunk": trunk, "heads": heads}, {"generation": generation})
    kernels = tuple(_merging_kernel(net) for net in reversed(generation))

    def init_encoder(key: Key, x: Array, context: Any) -> Params:
        params, d = [], x
        for layer_key, net, head in zip(jax.random.split(key, len(trunk)), trunk, heads, strict=True):
            net_key, head_key = jax.random.split(layer_key)
            net_params = net.init(net_key, d, context)
            d = net.apply(net_params, d, context)
            params.append((net_params, head.init(head_key, d)))
        return params

    def encode(params: Params, x: Array, context: Any = None) -> MarkovChain:
        bottom_up, d = [], x
        for net, head, (net_params, head_params) in zip(trunk, heads, params["encoder"], strict=True):
            d = net.apply(net_params, d, context)
            bottom_up.append(gaussian_posterior(*head.apply(head_params, d)))
        *lower, top = bottom_up
        pairs = zip(reversed(params["generation"]), reversed(lower), strict=True)
        return MarkovChain(top, tuple(((p, context), q) for p, q in pairs), kernels, last_first=True)

    return _top_down_generation(init_encoder, encode, generation, decoder, latent_dims, likelihood)


def deep_latent_gaussian(
    recognition: Sequence[Net],
    transforms: Sequence[Net],
    injections: Sequence[Net],
    decoder: Net,
    latent_dims: Sequence[int],
    likelihood: Likelihood,
) -> VAE:
    """Return the deep latent Gaussian model (Rezende et al. 2014, arXiv:1401.4082) with diagonal posteriors.

        z_l ~ N(0, I) for every l,    h_L = G_L z_L,    h_l = T_l(h_{l+1}) + G_l z_l,    x ~ p(x|h_1),    q(z|x) = Π_l q(z_l|x)

    Args:
        recognition: L nets: x -> [2, Z_l], the rows μ and log σ².
        transforms: L − 1 nets T_l: h_{l+1} -> h_l, for l = 1 … L − 1.
        injections: L nets G_l: z_l -> h_l, linear in the paper.
        decoder: h_1 -> what the likelihood takes.
        latent_dims: Z_1 … Z_L.
        likelihood: p(x|h_1).

    Raises:
        InputError: the numbers of nets do not fit the number of layers.
    """
    _check_layers(latent_dims, {"recognition": recognition, "injections": injections}, {"transforms": transforms})

    def init(key: Key, x: Array, context: Any = None) -> Params:
        encoder_key, injection_key, transform_key, decoder_key = jax.random.split(key, 4)
        injected = _init_nets(injections, injection_key, _zeros(latent_dims), None)
        h = [net.apply(p, z) for net, p, z in zip(injections, injected, _zeros(latent_dims), strict=True)]
        return {
            "encoder": _init_nets(recognition, encoder_key, [x] * len(recognition), context),
            "injections": injected,
            "transforms": _init_nets(transforms, transform_key, h[1:], None),
            "decoder": decoder.init(decoder_key, h[0], context),
            "likelihood": likelihood.init(),
        }

    def encode(params: Params, x: Array, context: Any = None) -> MarkovChain:
        pairs = zip(recognition, params["encoder"], strict=True)
        return _independent_layers(gaussian_posterior(*net.apply(p, x, context)) for net, p in pairs)

    def decode(params: Params, z: tuple[Array, ...], context: Any = None) -> Predictive:
        *lower, h = (net.apply(p, part) for net, p, part in zip(injections, params["injections"], z, strict=True))
        for net, p, injected in reversed(list(zip(transforms, params["transforms"], lower, strict=True))):
            h = net.apply(p, h) + injected
        return likelihood.distribution(params["likelihood"], decoder.apply(params["decoder"], h, context))

    def prior(params: Params, context: Any = None) -> MarkovChain:
        return _independent_layers(Normal(zeros, jnp.ones_like(zeros)) for zeros in _zeros(latent_dims))

    return VAE(init, encode, decode, prior)


def _top_down_generation(
    init_encoder: Callable[[Key, Array, Any], Params],
    encode: Callable[..., MarkovChain],
    generation: Sequence[Net],
    decoder: Net,
    latent_dims: Sequence[int],
    likelihood: Likelihood,
) -> VAE:
    """The VAE with a given posterior and p(x|z_1) p(z_1|z_2) … p(z_L)."""
    kernels = tuple(_normal_kernel(net, gaussian_prior) for net in reversed(generation))

    def init(key: Key, x: Array, context: Any = None) -> Params:
        encoder_key, generation_key, decoder_key = jax.random.split(key, 3)
        return {
            "encoder": init_encoder(encoder_key, x, context),
            "generation": _init_nets(generation, generation_key, _zeros(latent_dims[1:]), context),
            "decoder": decoder.init(decoder_key, jnp.zeros(latent_dims[0]), context),
            "likelihood": likelihood.init(),
        }

    def decode(params: Params, z: tuple[Array, ...], context: Any = None) -> Predictive:
        return likelihood.distribution(params["likelihood"], decoder.apply(params["decoder"], z[0], context))

    def prior(params: Params, context: Any = None) -> MarkovChain:
        top = Normal(jnp.zeros(latent_dims[-1]), jnp.ones(latent_dims[-1]))
        return MarkovChain(top, tuple((p, context) for p in reversed(params["generation"])), kernels, last_first=True)

    return VAE(init, encode, decode, prior)


Kernel = Callable[[Any, Array], Normal]


def _normal_kernel(net: Net, normal: Callable[..., Normal]) -> Kernel:
    def kernel(params: tuple[Params, Any], before: Float[Array, "Z"]) -> Normal:
        net_params, context = params
        return normal(*net.apply(net_params, before, context))

    return kernel


def _merging_kernel(net: Net) -> Kernel:
    prior = _normal_kernel(net, gaussian_prior)
    return lambda params, above: _merged(params[1], prior(params[0], above))


def _merged(a: Normal, b: Normal) -> Normal:
    """The normalised product of two normal densities. In logs, since a squared scale can underflow where a scale does not."""
    weight = jax.nn.sigmoid(2 * (jnp.log(b.scale) - jnp.log(a.scale)))  # σ_a⁻² / (σ_a⁻² + σ_b⁻²)
    return Normal(weight * a.loc + (1 - weight) * b.loc, a.scale * jnp.sqrt(weight))


def _independent_layers(layers: Iterable[Normal]) -> MarkovChain:
    *lower, top = layers
    return MarkovChain(top, tuple(reversed(lower)), (_independent,) * len(lower), last_first=True)


def _independent(params: Normal, before: Array) -> Normal:
    return params


def _init_nets(nets: Sequence[Net], key: Key, inputs: Sequence[Array], context: Any) -> list[Params]:
    keys = jax.random.split(key, len(nets))
    return [net.init(k, x, context) for net, k, x in zip(nets, keys, inputs, strict=True)]


def _zeros(dims: Sequence[int]) -> list[Array]:
    return [jnp.zeros(dim) for dim in dims]


def _check_layers(latent_dims: Sequence[int], each: dict[str, Sequence[Net]], between: dict[str, Sequence[Net]]) -> None:
    """Raise an InputError unless there is a net for each of the L layers, or for each of the L − 1 steps between them."""
    num_layers = len(latent_dims)
    if not latent_dims or min(latent_dims) < 1:
        raise InputError(f"latent_dims is {tuple(latent_dims)}: give a size of 1 or more for each layer.")
    for nets, wanted in ((each, num_layers), (between, num_layers - 1)):
        for name, given in nets.items():
            if len(given) != wanted:
                raise InputError(f"{name} has {len(given)} nets, and {num_layers} layers of latents take {wanted}.")
