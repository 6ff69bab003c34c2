"""Positions of patches for images of another size; torch's interpolation is in tests/parity."""

import jax
import numpy as np
import pytest
from scipy.interpolate import RegularGridInterpolator

from f3ocus_jax.models.blocks import positions


def grid(side, width=3, seed=0):
    return np.random.default_rng(seed).normal(size=(side**2 + 1, width)).astype(np.float32)


@pytest.mark.parametrize("method", sorted(positions.METHODS))
def test_the_same_size_changes_nothing(method):
    old = grid(5)
    np.testing.assert_array_equal(positions.resize(old, 5, method), old)


@pytest.mark.parametrize("method", sorted(positions.METHODS))
@pytest.mark.parametrize("side", [1, 2, 3, 8, 13])
def test_the_class_token_stays_and_a_constant_grid_stays_constant(method, side):
    old = np.concatenate([grid(1)[:1], np.full((25, 3), 0.7, np.float32)])
    new = positions.resize(old, side, method)
    assert new.shape == (side**2 + 1, 3)
    assert new.dtype == np.float32
    np.testing.assert_array_equal(new[0], old[0])
    np.testing.assert_allclose(new[1:], 0.7, rtol=1e-6)


@pytest.mark.parametrize("method", sorted(positions.METHODS))
@pytest.mark.parametrize("side", [1, 3, 8])
def test_a_grid_without_a_class_token_is_resized_as_one_with_it(method, side):
    old = grid(4)
    expected = positions.resize(old, side, method)[1:]
    np.testing.assert_array_equal(positions.resize(old[1:], side, method), expected)


@pytest.mark.parametrize("side", [2, 3, 7, 9])
def test_bilinear_equals_scipy_with_the_corners_aligned(side):
    old = grid(4)
    axis = np.arange(4.0)
    interpolate = RegularGridInterpolator((axis, axis), old[1:].reshape(4, 4, 3))
    points = np.stack(np.meshgrid(*[np.linspace(0, 3, side)] * 2, indexing="ij"), axis=-1)
    expected = interpolate(points).reshape(-1, 3)
    np.testing.assert_allclose(positions.resize(old, side, "bilinear")[1:], expected, atol=1e-6)


def test_positions_for_each_image_are_those_for_it_alone():
    """Of rows and columns apart, by scipy; a grid of the old size keeps every bit."""
    old, grids = grid(4), [(4, 4), (2, 6), (6, 1), (5, 5), (1, 3)]
    each = np.asarray(
        jax.jit(positions.resize_batch, static_argnums=2)(old, np.array(grids), (6, 7))
    )
    assert each.shape == (5, 1 + 42, 3)
    np.testing.assert_array_equal(each[:, 0], np.repeat(old[:1], 5, axis=0))
    placed = each[:, 1:].reshape(5, 6, 7, 3)
    np.testing.assert_array_equal(placed[0, :4, :4], old[1:].reshape(4, 4, 3))
    axis = np.arange(4.0)
    interpolate = RegularGridInterpolator((axis, axis), old[1:].reshape(4, 4, 3))
    for found, (rows, columns) in zip(placed, grids, strict=True):
        axes = [np.linspace(0, 3, n) if n > 1 else np.zeros(1) for n in (rows, columns)]
        points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
        np.testing.assert_allclose(found[:rows, :columns], interpolate(points), atol=1e-6)


def test_bicubic_follows_a_plane_away_from_the_edges():
    """Torch's parameter, unlike Keys', is not exact for planes; the oracle is in tests/parity."""
    rows, columns = np.indices((8, 8)).astype(np.float32)
    plane = (2 * rows - columns).reshape(64, 1)
    new = positions.resize(np.concatenate([plane[:1], plane]), 16, "bicubic")[1:].reshape(16, 16)
    places = (np.arange(16) + 0.5) / 2 - 0.5
    inner = slice(4, 12)
    expected = 2 * places[inner, None] - places[None, inner]
    np.testing.assert_allclose(new[inner, inner], expected, atol=0.2)
