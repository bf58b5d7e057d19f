"""Masks are cut out like the film they lie on."""

import numpy as np
import pytest

from facerestore.masks import crop_holes
from facerestore.video.planes import crop_rgb
from facerestore.video.reader import open_video


@pytest.fixture
def hole():
    mask = np.zeros((360, 640), bool)
    mask[101:173, 203:288] = True
    mask[90:140, 330:337] = True
    return mask


@pytest.mark.parametrize("pix_fmt", ["yuv444p", "yuv420p"])
@pytest.mark.parametrize("scale", [0.5, 1.0, 1.23, 2.6])
def test_what_lies_in_a_hole_does_not_show_beside_it(
    make_film, example_pictures, hole, pix_fmt, scale
):
    """Crops of films that differ in the hole only, as much as can be; corners leak a little."""
    angle = 0.1
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = np.hstack([scale * turn, [[190.3], [70.7]]])
    crops, holes = [], []
    for name, colour in (("a.mkv", 255), ("b.mkv", 0)):
        picture = example_pictures[0].copy()
        picture[hole] = colour
        film = open_video(make_film(name, pix_fmt=pix_fmt, count=1, pictures=[picture]))
        frame = next(film.frames())
        crops.append(crop_rgb(frame, matrix, to_coded=film.info.to_coded, size=128).astype(int))
        holes = crop_holes(hole, matrix, film.info, 128, wider=True)
        exact = crop_holes(hole, matrix, film.info, 128)
    difference = np.abs(crops[0] - crops[1]).max(axis=-1)
    assert difference[~holes].max() < 40
    assert difference[~exact].max() > 100
    assert holes[exact].all()
    assert holes.sum() < 2.5 * exact.sum()


def test_a_mask_of_another_size_reaches_as_far(make_film, hole):
    film = open_video(make_film(count=1))
    matrix = np.array([[1.0, 0, 190], [0, 1.0, 70]])
    fine = np.repeat(np.repeat(hole, 2, axis=0), 2, axis=1)
    one, other = (crop_holes(m, matrix, film.info, 128, wider=True) for m in (hole, fine))
    np.testing.assert_array_equal(one, other)
