"""Points in the plane against the densities that they are drawn from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax.data import ENERGIES, load_dataset
from gen_jax.data.toy import SAMPLERS, checkerboard, ring_with_two_bumps, sine, sine_with_a_step, two_sines
from gen_jax.types import InputError


def test_energies_are_those_of_the_paper():
    """Rezende & Mohamed 2015, table 1, written out in numpy at one point."""
    z1, z2 = 0.7, -0.4
    z = jnp.array([z1, z2])
    w1, w2, w3 = np.sin(2 * np.pi * z1 / 4), 3 * np.exp(-0.5 * ((z1 - 1) / 0.6) ** 2), 3 / (1 + np.exp(-(z1 - 1) / 0.3))
    ring = 0.5 * ((np.hypot(z1, z2) - 2) / 0.4) ** 2
    bumps = np.exp(-0.5 * ((z1 - 2) / 0.6) ** 2) + np.exp(-0.5 * ((z1 + 2) / 0.6) ** 2)
    np.testing.assert_allclose(ring_with_two_bumps(z), ring - np.log(bumps), rtol=1e-5)
    np.testing.assert_allclose(sine(z), 0.5 * ((z2 - w1) / 0.4) ** 2, rtol=1e-5)
    pair = np.exp(-0.5 * ((z2 - w1) / 0.35) ** 2) + np.exp(-0.5 * ((z2 - w1 + w2) / 0.35) ** 2)
    np.testing.assert_allclose(two_sines(z), -np.log(pair), rtol=1e-5)
    pair = np.exp(-0.5 * ((z2 - w1) / 0.4) ** 2) + np.exp(-0.5 * ((z2 - w1 + w3) / 0.35) ** 2)
    np.testing.assert_allclose(sine_with_a_step(z), -np.log(pair), rtol=1e-5)


@pytest.mark.parametrize("name", ENERGIES)
def test_energies_have_finite_gradients_everywhere(name):
    points = jnp.array([[0.0, 0.0], [100.0, -100.0], [4.0, 4.0], [-1e-20, 0.0]])
    assert np.isfinite(jax.vmap(jax.grad(ENERGIES[name]))(points)).all()


@pytest.mark.parametrize("name", ENERGIES)
def test_draws_of_an_energy_have_its_density(name):
    """The share of draws in each of 16 squares is the integral of e^(−U) over it."""
    draws = load_dataset(f"toy:{name}").train.x
    axis = np.arange(-6, 6, 0.02) + 0.01
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    density = np.exp(-np.asarray(jax.vmap(ENERGIES[name])(jnp.asarray(grid, jnp.float32)), np.float64))

    def cells(points):
        return np.clip(np.floor(points[:, 0] / 2 + 2), 0, 3) * 4 + np.clip(np.floor(points[:, 1] / 2 + 2), 0, 3)

    wanted = np.bincount(cells(grid).astype(int), density, 16) / density.sum()
    got = np.bincount(cells(draws).astype(int), minlength=16) / len(draws)
    assert np.abs(got - wanted).max() < 4 * np.sqrt(0.25 / len(draws)) + 1e-3


def test_the_checkerboard_is_uniform_on_its_dark_squares():
    points = checkerboard(20_000, np.random.default_rng(1))
    column, row = np.floor((points + 4) / 2).astype(int).T
    assert ((column + row) % 2 == 0).all()
    counts = np.bincount(column * 4 + row, minlength=16)
    assert np.abs(counts[counts > 0] - 2500).max() < 4 * np.sqrt(2500)
    assert (counts > 0).sum() == 8


@pytest.mark.parametrize("name", SAMPLERS)
def test_toy_data_are_points_that_are_the_same_every_time(name):
    first, again = load_dataset(f"toy:{name}"), load_dataset(f"toy:{name}")
    assert [part.x.shape for part in first.splits.values()] == [(50_000, 2), (5000, 2), (5000, 2)]
    assert first.train.x.dtype == np.float32
    for part, same in zip(first.splits.values(), again.splits.values(), strict=True):
        np.testing.assert_array_equal(part.x, same.x)
    assert np.abs(first.train.x).max() < 5.5


def test_unknown_toy_data_are_answered_with_the_nearest_known():
    with pytest.raises(InputError, match="Did you mean toy:two-moons"):
        load_dataset("toy:moons")


def test_dna_comes_from_the_data_folder(shared_data, monkeypatch):
    with pytest.raises(InputError, match="GEN_JAX_DATA_DIR"):
        load_dataset("dna")
    monkeypatch.setenv("GEN_JAX_DATA_DIR", str(shared_data))
    assert [part.x.shape for part in load_dataset("dna").splits.values()] == [(1400, 180), (600, 180), (1186, 180)]
