"""Probes on data whose best accuracy is known, and principal components against scikit-learn's."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from gen_jax.evaluate import principal_components, probe_accuracies
from gen_jax.types import InputError

RNG = np.random.default_rng(0)


def test_principal_components_are_scikit_learns_up_to_signs():
    train, test = RNG.normal(size=(40, 6)) @ RNG.normal(size=(6, 6)) + 3, RNG.normal(size=(9, 6))
    found = principal_components(train, test, 3)
    pca = PCA(3).fit(train)
    for ours, theirs in zip(found, (pca.transform(train), pca.transform(test)), strict=True):
        np.testing.assert_allclose(np.abs(ours), np.abs(theirs), atol=1e-9)
    assert principal_components(train, test, 99)[0].shape == (40, 6)


def test_a_ring_is_for_neighbours_and_a_plane_for_both():
    angle, inside = RNG.uniform(0, 2 * np.pi, 600), RNG.random(600) < 0.5
    ring = np.where(inside, 1.0, 3.0)[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    found = probe_accuracies(ring[:400], inside[:400].astype(int), ring[400:], inside[400:].astype(int))
    assert found["neighbours"] == 1
    assert found["linear"] < 0.7
    labels = (ring[:, 0] > 0).astype(int)
    found = probe_accuracies(ring[:400], labels[:400], ring[400:], labels[400:])
    assert min(found["linear"], found["neighbours"]) > 0.95
    assert found["linear_se"] == pytest.approx((found["linear"] * (1 - found["linear"]) / 200) ** 0.5)


def test_labels_that_have_nothing_to_do_with_it_are_guessed():
    x, labels = RNG.normal(size=(2000, 5)), RNG.integers(0, 2, 2000)
    found = probe_accuracies(x[:1000], labels[:1000], x[1000:], labels[1000:])
    for name in ("linear", "neighbours"):
        assert abs(found[name] - 0.5) < 4 * found[f"{name}_se"]


def test_one_class_and_a_constant_representation():
    with pytest.raises(InputError, match="All 3 training labels are equal"):
        probe_accuracies(np.zeros((3, 2)), np.zeros(3, int), np.zeros((1, 2)), np.zeros(1, int))
    found = probe_accuracies(np.zeros((10, 2)), np.arange(10) % 2, np.zeros((4, 2)), np.zeros(4, int))
    assert found["linear"] in (0, 1)
