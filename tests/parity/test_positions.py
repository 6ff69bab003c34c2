"""Resized positions beside torch's interpolation."""

import numpy as np
import pytest
import torch

from f3ocus_jax.models.blocks import positions

pytestmark = pytest.mark.parity

ALIGNED = {"bicubic": False, "bilinear": True}
"""Whether the corners of both grids are in the same place."""


@pytest.mark.parametrize("method", sorted(positions.METHODS))
@pytest.mark.parametrize(("old", "new"), [(4, 7), (7, 4), (3, 3), (12, 24), (24, 16), (2, 5)])
def test_resized_positions_equal_torch(method, old, new):
    values = np.random.default_rng(0).normal(size=(old**2 + 1, 6)).astype(np.float32)
    image = torch.from_numpy(values[1:].reshape(1, old, old, 6)).permute(0, 3, 1, 2)
    resized = torch.nn.functional.interpolate(
        image, size=(new, new), mode=method, align_corners=ALIGNED[method]
    )
    expected = resized.permute(0, 2, 3, 1).reshape(-1, 6).numpy()
    ours = positions.resize(values, new, method)
    np.testing.assert_array_equal(ours[0], values[0])
    np.testing.assert_allclose(ours[1:], expected, atol=1e-5)
