"""The data types check themselves."""

import numpy as np
import pytest

from facerestore.errors import UsageError
from facerestore.frames import CropPath, Tasks


def test_task_vector_follows_the_order_of_the_paper():
    assert Tasks.parse("inpaint,bfr").vector == (1.0, 0.0, 1.0)


def test_unknown_task_is_named():
    with pytest.raises(UsageError, match="sharpen"):
        Tasks.parse("bfr,sharpen")


def test_crop_matrix_maps_the_crop_corners():
    path = CropPath(10, np.array([[100.0, 50.0]]), np.array([64.0]))
    corners = path.matrix(10, 256) @ np.array([[0, 256], [0, 256], [1, 1]])
    np.testing.assert_allclose(corners, [[68, 132], [18, 82]])
