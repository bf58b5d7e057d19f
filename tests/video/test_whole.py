"""Whole frames as RGB and back: no change changes nothing, colours leave luma alone."""

import sys
from contextlib import nullcontext
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facerestore.errors import BadInputError
from facerestore.video.geometry import as_stored, display_geometry, upright
from facerestore.video.layout import layout, plane_views, with_chroma
from facerestore.video.whole import add_change, check_format, fitting, grey_of, rgb_of, set_colours

sys.path.insert(0, str(Path(__file__).parent))
from test_planes import FORMATS, frame_of, scene

COLOUR = [name for name in FORMATS if not name.startswith("gray")]
SIZES = [(96, 80), (97, 79), (3, 2), (1, 1)]


def noisy(width, height, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("pix_fmt", FORMATS)
@pytest.mark.parametrize("size", SIZES)
def test_no_change_changes_no_sample(pix_fmt, size):
    frame = frame_of(noisy(*size), pix_fmt)
    before = [view.copy() for view in plane_views(frame)]
    for field in (None, *((0, 1) if size[1] > 2 else ())):
        picture = rgb_of(frame, field)
        assert picture.shape[1:] == (size[0], 3)
        assert picture.min() >= 0
        assert picture.max() <= 1
        add_change(frame, np.zeros_like(picture), field)
    assert all((a == b).all() for a, b in zip(before, plane_views(frame), strict=True))


@pytest.mark.parametrize("pix_fmt", COLOUR)
def test_a_frame_shows_its_picture(pix_fmt):
    picture = scene(97, 79)
    shown = rgb_of(frame_of(picture, pix_fmt)) * 255
    assert np.abs(shown - picture).mean() < 2.5


@pytest.mark.parametrize("pix_fmt", COLOUR)
def test_a_change_arrives(pix_fmt):
    """A picture put in place of another one is what the frame shows then."""
    frame, wanted = frame_of(scene(97, 79), pix_fmt), scene(97, 79)[::-1]
    shown = rgb_of(frame)
    add_change(frame, np.float32(wanted) / 255 - shown)
    assert np.abs(rgb_of(frame) * 255 - wanted).mean() < 2.5


def test_of_a_grey_frame_luma_changes():
    frame = frame_of(scene(), "gray10le")
    before = rgb_of(frame)
    add_change(frame, np.full_like(before, 0.1))
    assert rgb_of(frame) - before == pytest.approx(0.1, abs=2e-3)


@pytest.mark.parametrize("field", [0, 1])
def test_one_field_changes_alone(field):
    frame = frame_of(scene(), "yuv420p")
    before = [view.copy() for view in plane_views(frame)]
    add_change(frame, np.full_like(rgb_of(frame, field), 0.2), field)
    for old, new in zip(before, plane_views(frame), strict=True):
        assert (old[1 - field :: 2] == new[1 - field :: 2]).all()
    assert (before[0][field::2] != plane_views(frame)[0][field::2]).all()


@pytest.mark.parametrize("pix_fmt", COLOUR)
@pytest.mark.parametrize("size", SIZES)
def test_colours_leave_luma_alone(pix_fmt, size):
    frame = frame_of(noisy(*size), pix_fmt)
    luma, grey = plane_views(frame)[0].copy(), grey_of(frame)
    alpha = [view[..., 3].copy() for view in plane_views(frame) if view.shape[-1] == 4]
    set_colours(frame, np.float32(noisy(*size, seed=1)) / 255)
    if layout(frame).kind == "yuv":
        assert (plane_views(frame)[0] == luma).all()
    assert np.abs(grey_of(frame) - grey).max() < 1 / 255
    assert all((a == v[..., 3]).all() for a, v in zip(alpha, plane_views(frame), strict=False))


@pytest.mark.parametrize("pix_fmt", COLOUR)
def test_colours_are_those_of_the_picture(pix_fmt):
    frame, picture = frame_of(scene(97, 79), pix_fmt), np.zeros((79, 97, 3), np.float32)
    picture[:] = 0.55, 0.5, 0.42
    set_colours(frame, picture)
    shown = rgb_of(frame)
    tint = shown - grey_of(frame)[..., None]
    luma = picture[0, 0] @ np.float32([0.299, 0.587, 0.114])
    assert np.abs(tint - (picture - luma)).max() < 0.03


def test_a_grey_frame_has_no_room_for_colours():
    frame = frame_of(scene(), "gray")
    with pytest.raises(ValueError, match="no room for colours"):
        set_colours(frame, rgb_of(frame))
    frame.pts, frame.time_base = 0, Fraction(1, 25)
    roomy = with_chroma(frame)
    set_colours(roomy, np.float32(scene()) / 255)
    assert (plane_views(roomy)[0] == plane_views(frame)[0]).all()
    assert plane_views(roomy)[1].std() > 5


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 999))
def test_what_fits_stays_within_bounds(seed):
    rng = np.random.default_rng(seed)
    grey, tint = (np.float32(rng.random((5, 4, n)) * 2 - b) for n, b in ((1, 0), (3, 1)))
    grey = np.clip(grey, 0, 1)
    share = fitting(grey, tint)
    assert ((share >= 0) & (share <= 1)).all()
    shown = grey + share * tint
    assert shown.min() >= -1e-5
    assert shown.max() <= 1 + 1e-5
    inside = ((grey + tint >= 0) & (grey + tint <= 1)).all(axis=-1)
    assert share[..., 0][inside] == pytest.approx(1)


@pytest.mark.parametrize(
    ("pix_fmt", "bits", "known"),
    [
        ("yuyv422", 8, False),
        ("pal8", 8, False),
        ("monow", 1, False),
        ("gbrpf32le", 32, False),
        ("yuv420p", 8, True),
        ("p010le", 10, True),
    ],
)
def test_formats_that_cannot_be_changed_are_told(pix_fmt, bits, known):
    info = SimpleNamespace(path="a.avi", pix_fmt=pix_fmt, bit_depth=bits)
    with nullcontext() if known else pytest.raises(BadInputError, match=f"in {pix_fmt}; convert"):
        check_format(info)


@pytest.mark.parametrize("turn", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_turning_and_turning_back(turn, mirrored):
    angle = turn * np.pi / 2
    linear = np.round([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = linear @ np.diag([-1.0 if mirrored else 1.0, 1.0])
    width, height, to_coded = display_geometry(7, 5, 1, linear)
    stored = np.arange(35).reshape(5, 7)
    seen = upright(stored, to_coded)
    assert seen.shape == (height, width)
    assert (as_stored(seen, to_coded) == stored).all()
    for x, y in ((0, 0), (3, 2), (1, 4)):  # as the film's own geometry has it
        column, row = to_coded @ [x + 0.5, y + 0.5, 1]
        assert seen[y, x] == stored[int(row), int(column)]
