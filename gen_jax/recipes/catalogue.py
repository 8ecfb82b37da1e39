"""The recipes by name."""

import difflib

from gen_jax.recipes import (
    autoencoder,
    beta_vae_sprites,
    cvae,
    energy_2d,
    flow_2d,
    gan_images,
    gan_points,
    iwae_mnist,
    made_dna,
    made_mnist,
    vae,
    vae_beta,
    vae_conv,
    vae_fashion,
    vae_flow,
    vae_hierarchical,
    vae_mixture,
    vae_mnist,
    vae_sphere,
    vq_vae,
)
from gen_jax.recipes.experiment import Recipe
from gen_jax.types import InputError

RECIPES: dict[str, Recipe] = {
    "vae": vae.RECIPE,
    "vae-mnist": vae_mnist.RECIPE,
    "vae-fashion": vae_fashion.RECIPE,
    "vae-cifar10": vae_conv.RECIPE,
    "iwae-mnist": iwae_mnist.RECIPE,
    "beta-vae-sprites": beta_vae_sprites.RECIPE,
    "vae-mixture": vae_mixture.RECIPE,
    "vae-sphere": vae_sphere.RECIPE,
    "vae-beta": vae_beta.RECIPE,
    "cvae": cvae.RECIPE,
    "hvae-mnist": vae_hierarchical.BOTTOM_UP,
    "ladder-mnist": vae_hierarchical.LADDER,
    "dlgm-mnist": vae_hierarchical.DEEP,
    "vq-vae": vq_vae.RECIPE,
    "vae-planar": vae_flow.PLANAR,
    "vae-iaf": vae_flow.IAF,
    "autoencoder": autoencoder.PLAIN,
    "autoencoder-denoising": autoencoder.DENOISING,
    "autoencoder-contractive": autoencoder.CONTRACTIVE,
    "flow-2d": flow_2d.RECIPE,
    "energy-2d": energy_2d.RECIPE,
    "made-mnist": made_mnist.RECIPE,
    "made-dna": made_dna.RECIPE,
    "gan-ring": gan_points.RING,
    "gan-grid": gan_points.GRID,
    "gan-mnist": gan_images.MLP,
    "dcgan-mnist": gan_images.DCGAN,
    "dcgan-cifar10": gan_images.CIFAR,
    "lsgan": gan_images.LEAST_SQUARES,
    "wgan": gan_images.WASSERSTEIN,
    "wgan-gp": gan_images.WASSERSTEIN_PENALTY,
    "stacked-mnist": gan_images.STACKED,
}


def find_recipe(name: str) -> Recipe:
    """Return a recipe by name.

    Raises:
        InputError: there is none of that name; the nearest one is named.
    """
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, n=1, cutoff=0.3)
        hint = f"Did you mean {near[0]}? " if near else ""
        raise InputError(f"There is no recipe {name!r}. {hint}Known: {', '.join(RECIPES)}.")
    return RECIPES[name]
