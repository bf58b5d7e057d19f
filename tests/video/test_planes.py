"""A face out of a frame and back: exact where nothing is, true where it is."""

from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facerestore.frames import Patch
from facerestore.video.geometry import display_geometry
from facerestore.video.layout import plane_views, with_chroma
from facerestore.video.planes import blend, crop_rgb

UPRIGHT = np.eye(2, 3)
FORMATS = [
    "yuv420p",
    "yuv422p",
    "yuv444p",
    "yuv411p",
    "yuv420p10le",
    "yuv422p10le",
    "yuv444p12le",
    "yuvj420p",
    "nv12",
    "p010le",
    "gray",
    "gray10le",
    "gray16le",
    "gbrp",
    "gbrp10le",
    "rgb24",
    "bgr24",
    "bgr0",
    "bgra",
    "yuva420p",
]


def scene(width=96, height=80):
    """uint8 RGB: smooth, with every colour."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / 17 + k) * np.cos(y / 13 - k) for k in (0.0, 1.1, 2.3)]
    return np.uint8(np.stack(waves, -1) * 70 + 128)


def frame_of(picture, pix_fmt="yuv444p"):
    rgb = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    return rgb if pix_fmt == "rgb24" else rgb.reformat(format=pix_fmt)


def matrix(x, y, side, size):
    scale = side / size
    return np.array([[scale, 0, x], [0, scale, y]])


def patch_of(rgb, source, weight=1.0, detail=None):
    size = len(rgb)
    mask = np.zeros((size, size), np.float32)
    mask[4:-4, 4:-4] = weight
    new, old = (np.float32(p) / np.float32(255) for p in (rgb, source))
    return Patch(new, old, detail, mask, mask)


@pytest.mark.parametrize("pix_fmt", FORMATS)
def test_nothing_outside_the_weights_is_touched(pix_fmt):
    frame = frame_of(scene(97, 79), pix_fmt)
    before = [view.copy() for view in plane_views(frame)]
    place = matrix(20.3, 15.7, 40.5, 32)
    crop = crop_rgb(frame, place, to_coded=UPRIGHT, size=32)
    covered = blend(frame, patch_of(255 - crop, crop), place, to_coded=UPRIGHT)
    assert covered > 500
    changed = [
        np.any(np.atleast_3d(a != b), axis=-1)
        for a, b in zip(before, plane_views(frame), strict=True)
    ]
    assert changed[0].any()
    for mask in changed:
        across, down = 97 / mask.shape[1], 79 / mask.shape[0]
        rows, columns = np.nonzero(mask)
        if len(rows):
            assert columns.min() * across >= 18
            assert (columns.max() - 1) * across <= 63
            assert rows.min() * down >= 13
            assert (rows.max() - 1) * down <= 58


@pytest.mark.parametrize("pix_fmt", FORMATS)
def test_a_crop_shows_the_colours_of_the_picture(pix_fmt):
    picture = scene()
    crop = crop_rgb(frame_of(picture, pix_fmt), matrix(16, 8, 64, 64), to_coded=UPRIGHT, size=64)
    expected = picture[8:72, 16:80].astype(int)
    if pix_fmt.startswith("gray"):  # swscale chooses the range of grey, so only the shape counts
        expected = np.repeat((expected @ [0.299, 0.587, 0.114])[..., None], 3, -1)
        assert np.corrcoef(crop.ravel(), expected.ravel())[0, 1] > 0.999
        return
    assert np.abs(crop - expected).mean() < 4


@settings(max_examples=25, deadline=None)
@given(st.floats(5, 30), st.floats(5, 20), st.floats(24, 60))
def test_crop_and_blend_invert_each_other(x, y, side):
    frame = frame_of(scene())
    before = [view.astype(int) for view in plane_views(frame)]
    place = matrix(x, y, side, 48)
    crop = crop_rgb(frame, place, to_coded=UPRIGHT, size=48)
    other = np.zeros_like(crop)
    patch = patch_of(crop, other, detail=np.zeros((48, 48), np.float32))
    blend(frame, patch, place, to_coded=UPRIGHT)
    for a, b in zip(before, plane_views(frame), strict=True):
        assert np.abs(a - b).max() <= 3
        assert np.abs(a - b).mean() < 0.3


squares = st.builds(matrix, st.floats(-70, 110), st.floats(-70, 90), st.floats(3, 150), st.just(32))
fields = st.sampled_from([None, 0, 1])


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(FORMATS), squares, fields, st.floats(0, 1), st.booleans())
def test_an_edit_stays_in_its_square_and_its_field(pix_fmt, place, field, weight, over_detail):
    """Wherever the square lies, also beyond the picture, in every plane of every format."""
    frame = frame_of(scene(97, 79), pix_fmt)
    before = [view.copy() for view in plane_views(frame)]
    crop = crop_rgb(frame, place, to_coded=UPRIGHT, size=32, field=field)
    detail = np.zeros((32, 32), np.float32) if over_detail else None
    patch = patch_of(255 - crop, crop, weight, detail)
    covered = blend(frame, patch, place, to_coded=UPRIGHT, field=field)
    left, top = place[:, 2]
    right, bottom = place @ [32, 32, 1]
    for a, b in zip(before, plane_views(frame), strict=True):
        rows, columns = np.nonzero(np.any(np.atleast_3d(a != b), axis=-1))
        across, down = 97 / a.shape[1], 79 / a.shape[0]
        if field is not None:
            assert (rows % 2 == field).all()
        if len(rows):
            assert weight > 0 and covered > 0
            reach = 2 if field is None else 3  # samples; rows of one field are two apart
            assert left - reach * across <= columns.min() * across
            assert columns.max() * across <= right + reach * across
            assert top - reach * down <= rows.min() * down
            assert rows.max() * down <= bottom + reach * down


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(FORMATS), squares, fields, st.floats(0, 1))
def test_an_edit_that_changes_nothing_changes_no_sample(pix_fmt, place, field, weight):
    frame = frame_of(scene(97, 79), pix_fmt)
    before = [view.copy() for view in plane_views(frame)]
    crop = crop_rgb(frame, place, to_coded=UPRIGHT, size=32, field=field)
    blend(frame, patch_of(crop, crop, weight), place, to_coded=UPRIGHT, field=field)
    for a, b in zip(before, plane_views(frame), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_shift_of_a_twentieth_of_a_pixel_would_be_seen():
    """Phase of a ramp: the crop's values tell where it was taken."""
    ramp = np.repeat(np.arange(40, 232, 2, dtype=np.uint8)[None], 80, 0)
    picture = np.repeat(ramp[..., None], 3, -1)
    frame = frame_of(picture, "gbrp")
    for x in (10.0, 10.25, 17.6):
        crop = crop_rgb(frame, matrix(x, 10, 40, 64), to_coded=UPRIGHT, size=64)
        centres = x + (np.arange(64) + 0.5) * 40 / 64
        expected = 40 + 2 * (centres - 0.5)
        assert abs((crop[32, 8:-8, 0] - expected[8:-8]).mean()) < 0.1  # 0.05 px is 0.1 codes


def test_a_full_blend_replaces_detail_only_where_asked():
    rng = np.random.default_rng(0)
    noisy = np.clip(scene(256, 256).astype(int) + rng.integers(-40, 40, (256, 256, 1)), 0, 255)
    place = matrix(16, 16, 224, 32)
    kept, gone = (frame_of(np.uint8(noisy), "gray") for _ in range(2))
    crop = crop_rgb(kept, place, to_coded=UPRIGHT, size=32)
    blend(kept, patch_of(crop, crop), place, to_coded=UPRIGHT)
    hole = patch_of(crop, crop, detail=np.zeros((32, 32), np.float32))
    blend(gone, hole, place, to_coded=UPRIGHT)
    inner = np.s_[100:150, 100:150]
    before = frame_of(np.uint8(noisy), "gray").to_ndarray()[inner].astype(int)
    assert np.abs(plane_views(kept)[0][inner] - before).max() <= 1
    assert plane_views(gone)[0][inner].std() < 0.75 * before.std()


@pytest.mark.parametrize("quarter", [0, 1, 2, 3])
@pytest.mark.parametrize("mirrored", [False, True])
def test_turned_and_mirrored_films_are_cropped_upright(quarter, mirrored):
    picture = scene(96, 64)
    turn = np.linalg.matrix_power(np.array([[0, -1], [1, 0]]), quarter)
    linear = turn @ np.diag([-1 if mirrored else 1, 1])
    coded = np.rot90(picture, quarter)  # undone by `turn`
    coded = coded[:, ::-1] if mirrored else coded
    height, width = coded.shape[:2]
    w, h, to_coded = display_geometry(width, height, Fraction(1), linear)
    assert (w, h) == (96, 64)
    crop = crop_rgb(frame_of(coded, "gbrp"), matrix(20, 10, 40, 40), to_coded=to_coded, size=40)
    assert np.abs(crop.astype(int) - picture[10:50, 20:60]).max() <= 1


def test_wide_samples_are_stretched():
    picture = scene(60, 64)
    w, h, to_coded = display_geometry(60, 64, Fraction(16, 10), np.eye(2))
    assert (w, h) == (96, 64)
    wide = cv2.resize(picture, (96, 64), interpolation=cv2.INTER_CUBIC)
    crop = crop_rgb(frame_of(picture, "gbrp"), matrix(20, 10, 40, 40), to_coded=to_coded, size=40)
    assert np.abs(crop.astype(int) - wide[10:50, 20:60]).mean() < 2


@pytest.mark.parametrize("field", [0, 1])
def test_one_field_leaves_the_other_alone(field):
    frame = frame_of(scene(), "yuv420p")
    before = [view.copy() for view in plane_views(frame)]
    place = matrix(20, 15, 40, 32)
    crop = crop_rgb(frame, place, to_coded=UPRIGHT, size=32, field=field)
    whole = crop_rgb(frame, place, to_coded=UPRIGHT, size=32)
    assert np.abs(crop.astype(int) - whole).mean() < 2
    blend(frame, patch_of(255 - crop, crop), place, to_coded=UPRIGHT, field=field)
    for a, b in zip(before, plane_views(frame), strict=True):
        np.testing.assert_array_equal(a[1 - field :: 2], b[1 - field :: 2])
        assert (a[field::2] != b[field::2]).any()


def test_a_crop_beyond_the_picture_repeats_its_edge():
    frame = frame_of(np.full((40, 40, 3), 90, np.uint8), "gbrp")
    for x in (-30, -500, 30, 900):
        crop = crop_rgb(frame, matrix(x, -10, 40, 16), to_coded=UPRIGHT, size=16)
        assert np.abs(crop.astype(int) - 90).max() <= 1
    patch = patch_of(np.zeros((16, 16, 3)), np.zeros((16, 16, 3)))
    assert blend(frame, patch, matrix(900, 0, 40, 16), to_coded=UPRIGHT) == 0


def test_grey_becomes_neutral_colour():
    grey = frame_of(scene(), "gray10le")
    grey.pts, grey.time_base = 7, Fraction(1, 25)
    colour = with_chroma(grey)
    luma, blue, red = plane_views(colour)
    np.testing.assert_array_equal(luma, plane_views(grey)[0])
    assert (blue == 512).all()
    assert (red == 512).all()
    assert colour.pts == 7
