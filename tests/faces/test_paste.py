"""Laws of masks, colour match and weights."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facerestore.faces.paste import (
    LUMA_601,
    lean_of,
    make_patch,
    match_colour,
    skin_mask,
    soft_mask,
    tint_of,
)
from facerestore.frames import Tasks

SIZE = 64
mixes = st.sampled_from(["bfr", "color", "inpaint", "bfr,color", "bfr,inpaint", "color,inpaint"])


def picture(seed, size=SIZE):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (size, size, 3), np.uint8)


def holes(size=SIZE):
    mask = np.zeros((size, size), bool)
    mask[30:36, 20:44] = True
    return mask


@given(st.sampled_from([32, 64, 256, 512]))
def test_the_mask_is_one_on_the_face_and_nothing_at_the_border(size):
    mask = soft_mask(size)
    assert mask.min() == 0
    assert mask.max() == 1
    for border in (mask[0], mask[-1], mask[:, 0], mask[:, -1]):
        assert (border == 0).all()
    np.testing.assert_allclose(mask, mask[:, ::-1], atol=1e-6)
    for x, y in ((0.377, 0.469), (0.623, 0.469), (0.393, 0.725), (0.607, 0.725)):
        assert mask[int(y * size), int(x * size)] > 0.95


@settings(max_examples=30, deadline=None)
@given(mixes, st.floats(0, 1), st.integers(0, 99))
def test_weights_stay_in_range_and_scale_with_strength(mix, strength, seed):
    tasks = Tasks.parse(mix)
    mask = holes() if tasks.inpaint else None
    full = make_patch(picture(seed), picture(seed + 1), tasks, holes=mask)
    part = make_patch(picture(seed), picture(seed + 1), tasks, holes=mask, strength=strength)
    for whole, scaled in ((full.luma, part.luma), (full.chroma, part.chroma)):
        assert whole.min() >= 0
        assert whole.max() <= 1
        np.testing.assert_allclose(scaled, whole * np.float32(strength), atol=1e-6)
        assert (whole[[0, -1]] == 0).all()


def test_colour_alone_never_touches_luma():
    patch = make_patch(picture(0), picture(1), Tasks(color=True))
    assert (patch.luma == 0).all()
    assert patch.chroma.max() > 0.9


@given(st.integers(0, 99))
def test_new_colours_stay_within_the_mask(seed):
    assert (skin_mask(picture(seed)) <= np.rint(soft_mask(SIZE) * 255)).all()


@pytest.mark.parametrize("wall", [26, 64, 255])
def test_new_colours_end_at_the_edge_of_the_face(wall):
    size, edge = 256, 66  # a face before a wall that reaches into the oval
    scene = np.full((size, size, 3), 140, np.uint8)
    flat = skin_mask(scene)
    scene[:, :edge] = wall
    bent, row = skin_mask(scene), size // 2
    assert flat[row, edge - 8] > 127
    assert bent[row, edge - 8] < 0.5 * flat[row, edge - 8]
    assert bent[row, edge + 16] > 229


def test_new_colours_go_where_they_are_told_to_within_the_mask():
    skin = np.full((SIZE, SIZE), 51, np.uint8)
    patch = make_patch(picture(0), picture(1), Tasks(color=True), skin=skin)
    np.testing.assert_allclose(patch.chroma, np.minimum(soft_mask(SIZE), 0.2), atol=1e-6)


def test_inpainting_alone_replaces_the_holes_and_nothing_far_from_them():
    patch = make_patch(picture(0), picture(1), Tasks(inpaint=True), holes=holes())
    assert (patch.luma[30:36, 20:44] == 1).all()
    assert (patch.chroma == patch.luma).all()
    assert (patch.luma[:24] == 0).all()
    assert patch.detail is not None
    assert (patch.detail[30:36, 20:44] == 0).all()


def test_the_same_picture_stays_the_same():
    source = picture(3)
    patch = make_patch(source, source, Tasks(bfr=True))
    np.testing.assert_allclose(patch.rgb, patch.source, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.floats(-0.2, 0.2))
def test_a_shift_of_colour_is_taken_back(shift):
    flat = np.full((SIZE, SIZE, 3), 0.5, np.float32)
    matched = match_colour(flat + np.float32(shift), flat)
    np.testing.assert_allclose(matched, flat, atol=1e-5)


def test_colorization_keeps_its_colours():
    grey = np.full((SIZE, SIZE, 3), 0.5, np.float32)
    red = grey + np.array([0.2, -0.05, -0.1], np.float32)
    matched = match_colour(red, grey, luma_only=True)
    assert (matched[..., 0] - matched[..., 2]).min() == pytest.approx(0.3, abs=1e-5)
    luma = matched @ np.array([0.299, 0.587, 0.114], np.float32)
    np.testing.assert_allclose(luma, 0.5, atol=1e-5)


def test_holes_do_not_feed_the_colour_match():
    source = np.full((SIZE, SIZE, 3), 0.5, np.float32)
    spoilt = source.copy()
    spoilt[holes()] = 1
    known = 1 - holes().astype(np.float32)
    np.testing.assert_allclose(match_colour(source, spoilt, known=known), 0.5, atol=1e-4)


@pytest.mark.parametrize("tint", [(0.0, 0.0, 0.0), (0.06, 0.0, -0.08)])
@pytest.mark.parametrize("tasks", ["bfr", "inpaint", "bfr,inpaint"])
def test_black_and_white_stays_in_its_tint(tint, tasks):
    grey = np.repeat(picture(1).mean(axis=-1, keepdims=True) / 255, 3, axis=-1)
    source = np.clip((grey * 0.6 + 0.2 + tint) * 255, 0, 255).astype(np.uint8)
    patch = make_patch(picture(2), source, Tasks.parse(tasks), holes=holes())
    chroma = patch.rgb - (patch.rgb @ LUMA_601)[..., None]
    inner = (patch.rgb > 0.1).all(axis=-1) & (patch.rgb < 0.9).all(axis=-1)
    expected = np.array(tint) - np.array(tint) @ LUMA_601
    assert np.abs(chroma[inner] - expected).max() < 0.02


def test_colours_are_told_from_a_tint():
    assert tint_of(picture(0) / np.float32(255)) is None
    assert tint_of(np.full((8, 8, 3), (0.5, 0.4, 0.3), np.float32)) is not None


@pytest.mark.parametrize("lean", [-0.3, 0.0, 0.3])
def test_new_colours_lean_with_the_head(lean):
    """On a picture of one brightness: wide at the eyes, narrow at the chin, along the head."""
    axis = np.array([np.sin(lean), np.cos(lean)])
    eyes, mouth = np.array([32.0, 28]) - 4 * axis, np.array([32.0, 28]) + 16 * axis
    apart = np.array([8.0, 0.0])
    points = np.stack([eyes - apart, eyes + apart, (eyes + mouth) / 2, mouth, mouth])
    assert lean_of(points) == pytest.approx(lean)
    mask = skin_mask(np.full((SIZE, SIZE, 3), 127, np.uint8), points)
    upper, lower = mask[: SIZE // 2], mask[SIZE // 2 + 8 :]
    assert (upper > 127).sum(axis=1).max() > (lower > 127).sum(axis=1).max()
    middles = [(np.arange(SIZE) * part).sum() / part.sum() for part in (upper, lower)]
    shift = middles[1] - middles[0]
    assert abs(shift) < 0.05 if lean == 0 else shift * np.sign(lean) > 0.5
