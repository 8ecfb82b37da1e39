"""The peers of the benchmarks compute what the library's networks and losses do, with the same parameters."""

import json
import sys
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch")
sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
import torch_style as peers  # noqa: E402
from torch_gan import dcgan_networks  # noqa: E402
from torch_made import TorchMADE  # noqa: E402

from gen_jax.data import Split  # noqa: E402
from gen_jax.gan import path_lengths, r1_penalty  # noqa: E402
from gen_jax.nets import blur  # noqa: E402
from gen_jax.recipes import RECIPES, cycle, style  # noqa: E402
from gen_jax.recipes.settings import change  # noqa: E402

CHANNELS, COLOURS, SIZE, LATENT, BATCH = (8, 6, 3), 2, 12, 5, 8
STYLES = ("progressive-mnist", "stylegan-mnist", "stylegan2")
RANDOM = np.random.default_rng(0)


def draw(*shape: int) -> jax.Array:
    return jnp.asarray(RANDOM.uniform(-1, 1, shape), jnp.float32)


def tensor(x) -> torch.Tensor:
    return torch.from_numpy(np.array(x))  # of jax: cannot be written to


def images(x) -> torch.Tensor:
    return tensor(x).permute(0, 3, 1, 2)


def close(ours, theirs: torch.Tensor, atol: float = 1e-4) -> None:
    theirs = theirs.detach().numpy()
    np.testing.assert_allclose(np.asarray(ours), theirs.transpose(0, 2, 3, 1) if theirs.ndim == 4 else theirs, atol=atol)


def shaken(variables):
    """Add noise to all parameters, and a spread other than 0 to the state, so that none is without effect."""
    leaves, structure = jax.tree.flatten(variables.params)
    params = jax.tree.unflatten(structure, [leaf + 0.1 * draw(*leaf.shape) for leaf in leaves])
    spread = lambda path, leaf: leaf + 0.3 if "spread" in jax.tree_util.keystr(path) else leaf
    return params, jax.tree.map_with_path(spread, variables.state)


@torch.no_grad()
def load(layer: torch.nn.Module, params: dict) -> None:
    """Copy a kernel and a bias."""
    kernel = np.asarray(params["kernel"])
    layer.weight.copy_(tensor(kernel.transpose(3, 2, 0, 1) if kernel.ndim == 4 else kernel.T))
    if "bias" in params:
        layer.bias.copy_(tensor(params["bias"]))


@torch.no_grad()
def set_to(parameter: torch.Tensor, value) -> None:
    """Copy an array; a vector is one of channels."""
    value = np.asarray(value)
    parameter.copy_(tensor(value.transpose(2, 0, 1) if value.ndim == 3 else value).view_as(parameter))


def load_blocks(blocks, params: dict) -> None:
    for number, block in blocks:
        for layer, letter in zip(block, "ab", strict=True):
            load(layer, params[f"conv_{number}{letter}"])


def load_head(head: torch.nn.Module, params: dict, spread) -> None:
    load(head.conv, params["EqualConv_0"])
    kernel = np.asarray(params["EqualDense_0"]["kernel"]).reshape(4, 4, CHANNELS[0], -1)  # flattened with channels last
    load(head.dense, {**params["EqualDense_0"], "kernel": kernel.transpose(2, 0, 1, 3).reshape(16 * CHANNELS[0], -1)})
    load(head.logit, params["EqualDense_1"])
    set_to(head.spread, spread)


def grown_generator(params: dict) -> torch.nn.Module:
    net = peers.GrowingGenerator(CHANNELS, COLOURS, LATENT)
    dense = {name: np.asarray(leaf).reshape(-1, 4, 4, CHANNELS[0]) for name, leaf in params["dense"].items()}
    dense = {name: leaf.transpose(0, 3, 1, 2).reshape(len(leaf), -1) for name, leaf in dense.items()}
    load(net.dense, {"kernel": dense["kernel"], "bias": dense["bias"][0]})
    load(net.first, params["conv_0"])
    load_blocks(enumerate(net.blocks, start=1), params)
    load(net.to_image, params["to_image_2"])
    return net


def style_generator(params: dict, name: str) -> torch.nn.Module:
    kind = peers.StyleSynthesis if name == "stylegan-mnist" else peers.SkipSynthesis
    net = peers.StyleGenerator(kind(CHANNELS, COLOURS, LATENT, SIZE), LATENT, mapping_layers=2)
    for number, layer in enumerate(net.layers):
        load(layer, params["mapping"][f"EqualDense_{number}"])
    own, params = net.synthesis, params["synthesis"]
    set_to(own.constant, params["constant"])
    if name == "stylegan-mnist":
        for number, conv in enumerate(own.convs, start=1):
            load(conv, params[f"conv_{number}"])
        for number, layer in enumerate(own.styles):
            set_to(layer.noise.strength, params[f"noise_{number}"]["strength"])
            load(layer.style, params[f"style_{number}"]["EqualDense_0"])
        load(own.to_image, params["to_image_2"])
        return net
    set_to(own.bias, params["bias"])
    for number, layer in enumerate(own.layers):
        set_to(layer.noise.strength, params[f"noise_{number}"]["strength"])
        set_to(layer.bias, params[f"bias_{number}"])
    convs = [(layer.conv, params[f"conv_{number}"]) for number, layer in enumerate(own.layers)]
    for conv, of_conv in convs + [(conv, params[f"to_image_{number}"]) for number, conv in enumerate(own.to_image)]:
        load(conv, {"kernel": of_conv["kernel"]})
        load(conv.style, of_conv["EqualDense_0"])
    return net


def discriminator(params: dict, state: dict, name: str) -> torch.nn.Module:
    if name == "stylegan2":
        net = peers.ResidualDiscriminator(CHANNELS, COLOURS)
        load(net.from_image, params["EqualConv_0"])
        for number, (first, second, skip) in enumerate(net.blocks):
            for layer, index in ((second, 1), (first, 2), (skip, 3)):
                load(layer, params[f"EqualConv_{3 * number + index}"])
    else:
        net = peers.GrowingDiscriminator(CHANNELS, COLOURS, blurred=name != "progressive-mnist")
        load(net.from_image, params["from_image_2"])
        load_blocks(zip((2, 1), net.blocks, strict=True), params)
    load_head(net.head, params["StyleHead_0"], state["net"]["averages"]["StyleHead_0"]["spread"])
    return net


def make(name: str) -> SimpleNamespace:
    """Return a GAN of a recipe, its variables, and its peers: the last stage, of one that grows."""
    settings = style.RECIPES["progressive-mnist" if name == "progressive-mnist" else "stylegan-mnist"].settings
    settings = change(settings, architecture="style2") if name == "stylegan2" else settings
    settings = change(settings, width=3, max_width=CHANNELS[0], latent_dim=LATENT)
    settings = settings if name == "progressive-mnist" else change(settings, mapping_layers=2)
    growing = style.make_gan(settings, (SIZE, SIZE, COLOURS), len(CHANNELS))
    params, state = shaken(jax.jit(growing.whole.init)(jax.random.key(0), jnp.zeros((SIZE, SIZE, COLOURS))))
    generator = grown_generator(params.generator) if name == "progressive-mnist" else style_generator(params.generator, name)
    judge = discriminator(params.discriminator, state.discriminator, name)
    size = 16 if name == "progressive-mnist" else SIZE
    gan = growing.stages[-1] if name == "progressive-mnist" else growing.whole
    return SimpleNamespace(gan=gan, variables=(params, state), generator=generator, discriminator=judge, size=size)


@pytest.fixture(scope="module", params=STYLES)
def pair(request) -> SimpleNamespace:
    return make(request.param)


def test_generators_agree(pair):
    z, own = draw(BATCH, LATENT), pair.gan.style
    if own is None:
        ours, _ = jax.jit(pair.gan.generate)(*pair.variables, jax.random.key(0), z)
        inner = slice(2, 2 + SIZE)  # without the border that a stage of ours paints over
        close(ours[:, inner, inner], pair.generator(tensor(z))[:, :, inner, inner])
    else:
        w = own.to_styles(*pair.variables, z)
        styles = jnp.broadcast_to(w[:, None], (BATCH, own.num_layers, LATENT))
        close(own.synthesise(*pair.variables, None, styles), pair.generator.eval()(tensor(z), noise=False))


def test_discriminators_agree_on_batches_and_on_images_alone_and_remember_the_spread(pair):
    x = draw(BATCH, pair.size, pair.size, COLOURS)
    alone, _ = pair.gan.discriminate(*pair.variables, x)
    close(alone.logits, pair.discriminator(images(x), alone=True))
    together, state = pair.gan.discriminate(*pair.variables, x, train=True)
    theirs = deepcopy(pair.discriminator)
    close(together.logits, theirs(images(x)))
    close(state.discriminator["net"]["averages"]["StyleHead_0"]["spread"], theirs.head.spread)


def test_r1_agrees(pair):
    x = draw(BATCH, pair.size, pair.size, COLOURS)
    critic = lambda x: pair.gan.discriminate(*pair.variables, x)[0].logits
    ours = jax.jit(lambda x: r1_penalty(critic, jax.random.key(0), x, x))(x)
    close(ours, peers.r1_penalty(pair.discriminator, images(x)), 1e-3)


@pytest.mark.parametrize("name", STYLES[1:])
def test_path_lengths_agree(name):
    pair = make(name)
    w, key = draw(BATCH, 2 * len(CHANNELS), LATENT), jax.random.key(1)
    ours = path_lengths(lambda w: pair.gan.style.synthesise(*pair.variables, None, w), key, w)
    y = jax.random.normal(key, (BATCH, SIZE, SIZE, COLOURS))  # as path_lengths draws it
    theirs = peers.path_lengths(pair.generator.synthesis, tensor(w).requires_grad_(), images(y), noise=False)
    close(ours, theirs, 1e-3)


def test_both_ways_to_blur_agree_with_the_library():
    x = draw(2, 6, 4, 3)
    close(blur(x), peers.Blur().in_groups(images(x)), 1e-6)
    close(blur(x), peers.Blur().by_slices(images(x)), 1e-6)


def translator(params: dict) -> torch.nn.Module:
    net = peers.translator(1, 3, 2, 2)
    kernels = [params["Conv_0"], params["Conv_1"], params["Conv_2"]]
    blocks = params["Scan_Block_0"]
    kernels += [{"kernel": blocks[f"Conv_{layer}"]["kernel"][block]} for block in range(2) for layer in range(2)]
    kernels += [params["ConvTranspose_0"], params["ConvTranspose_1"], params["Conv_3"]]
    layers = [layer for layer in net.modules() if isinstance(layer, torch.nn.Conv2d | torch.nn.ConvTranspose2d)]
    for layer, of_layer in zip(layers, kernels, strict=True):
        load(layer, of_layer)
    return net


def patches(params: dict) -> torch.nn.Module:
    net = peers.patch_discriminator(1, 4, 2)
    layers = [layer for layer in net if isinstance(layer, torch.nn.Conv2d)]
    for number, layer in enumerate(layers):
        load(layer, params[f"Conv_{number}"])
    return net


def test_cyclegans_agree_in_networks_and_in_both_losses():
    sizes = {"width": 3, "num_halvings": 2, "num_blocks": 2, "disc_width": 4, "disc_halvings": 2}
    settings = change(cycle.RECIPES["cyclegan"].settings, cycle_weight=10.0, identity_weight=5.0, **sizes)
    experiment = cycle.build(settings, (SIZE, SIZE, 2))
    params, state = shaken(jax.jit(experiment.model.init)(jax.random.key(0), jnp.zeros((SIZE, SIZE, 2))))
    generators = [translator(params.generator[name]["params"]) for name in ("a-to-b", "b-to-a")]
    discriminators = [patches(params.discriminator[name]["params"]) for name in "ab"]
    x = draw(BATCH, SIZE, SIZE, 2)
    for name, net in zip(("a-to-b", "b-to-a"), generators, strict=True):
        close(experiment.model.translate(params, x[..., :1], name), net(images(x[..., :1])))
    for name, net in zip("ab", discriminators, strict=True):
        close(experiment.model.discriminate(params, x[..., :1], name)[..., None], net(images(x[..., :1])))
    game = peers.CycleGame(generators, discriminators, learning_rate=1e-3, betas=(0.5, 0.999))
    losses, arguments = experiment.loss, (params, state, jax.random.key(1), jnp.int32(0), Split(x))
    close(losses.discriminator(*arguments)[0], game.discriminator_loss(images(x), 0), 1e-3)  # the pools are not full
    close(losses.generator(*arguments)[0], game.generator_loss(images(x), 0), 1e-3)


def test_mades_agree():
    settings = change(RECIPES["made-mnist"].settings, hidden_sizes=(30,), binarise="none")
    experiment = RECIPES["made-mnist"].build(settings, (12,))
    params, state = shaken(experiment.model.init(jax.random.key(0), jnp.zeros(12)))
    x = (draw(BATCH, 12) > 0).astype(jnp.float32)
    peer, layers = TorchMADE(12, 30), params["params"]
    for layer, name in ((peer.below, "hidden_0"), (peer.above, "output"), (peer.direct, "direct")):
        load(layer, layers[name])
    close(experiment.loss(params, state, jax.random.key(1), jnp.int32(0), Split(x))[0], peer(tensor(x)))


def test_dcgans_agree_under_batch_norm():
    settings = change(RECIPES["dcgan-cifar10"].settings, channels=(3, 4), latent_dim=LATENT)
    gan = RECIPES["dcgan-cifar10"].build(settings, (8, 8, 3)).model
    params, state = shaken(gan.init(jax.random.key(0), jnp.zeros((8, 8, 3))))
    generator, discriminator = dcgan_networks((3, 4), 8, 3, LATENT)
    dense = np.asarray(params.generator["Dense_0"]["kernel"]).reshape(LATENT, 2, 2, 4).transpose(0, 3, 1, 2)
    head = params.discriminator["DiscriminatorHead_0"]["Dense_0"]
    rows = np.asarray(head["kernel"]).reshape(2, 2, 4, 1).transpose(2, 0, 1, 3).reshape(16, 1)
    for net, of_net, firsts, lasts in (
        (generator, params.generator, [{"kernel": dense.reshape(LATENT, 16)}], []),
        (discriminator, params.discriminator, [], [{**head, "kernel": rows}]),
    ):
        kernels = [*firsts, *(layer for name, layer in sorted(of_net.items()) if name.startswith("Conv")), *lasts]
        norms = [layer for name, layer in sorted(of_net.items()) if name.startswith("BatchNorm")]
        for layer in net:
            if isinstance(layer, torch.nn.BatchNorm2d):
                own = norms.pop(0)
                set_to(layer.weight, own["scale"])
                set_to(layer.bias, own["bias"])
            elif hasattr(layer, "weight"):
                load(layer, kernels.pop(0))
        assert not kernels
        assert not norms
    z, x = draw(BATCH, LATENT), draw(BATCH, 8, 8, 3)
    close(gan.generate(params, state, jax.random.key(1), z, train=True)[0], generator(tensor(z)))
    close(gan.discriminate(params, state, x, train=True)[0].logits, discriminator(images(x)).squeeze(1))


def test_a_row_of_step_times_that_fails_is_tried_once_more_without_a_graph_and_stops_no_other(tmp_path, monkeypatch):
    pytest.importorskip("zuko")
    import step_speed

    tried, file = [], tmp_path / "steps.json"

    def measure(name, batch, steps, rounds, variants, peers):
        tried.append((name, "graph" in peers))
        if name == "mlp-vae" and ("graph" in peers or len(tried) > 3):
            raise RuntimeError("operation not permitted when stream is capturing\nand more")
        return {"medians": {"gen_jax": 1.0}, "errors": {}}

    monkeypatch.setattr(step_speed, "measure", measure)
    monkeypatch.setattr(sys, "argv", ["step_speed.py", "--toy", "--only", "mlp-vae", "made", "--save", str(file)])
    with pytest.raises(SystemExit, match="mlp-vae small failed"):
        step_speed.main()
    step_speed.main()
    assert tried == [("mlp-vae", True), ("mlp-vae", False), ("made", True)]
    rows = json.loads(file.read_text())["rows"]
    assert rows["mlp-vae small"]["errors"]["PyTorch CUDA graph"].endswith(
        "RuntimeError: operation not permitted when stream is capturing"
    )
    file.unlink()
    tried[:] = [("another call", True)] * 3
    for _ in range(2):
        with pytest.raises(SystemExit):
            step_speed.main()
    step_speed.main()  # it has failed twice, and is left out
    assert len(json.loads(file.read_text())["rows"]["mlp-vae small"]["failed"]) == 2
