"""Recognising a returning person, and choosing the frame to learn a face from."""

import itertools

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage import data

from facerestore.faces.crop import face_squares
from facerestore.faces.identity import (
    appearance,
    best_frame,
    crop_sharpness,
    frontality,
    likeness,
    same_person,
)

TEMPLATE = np.array([[193.0, 240], [319, 240], [256, 314], [201, 371], [313, 371]])


def crop_of(bgr, face, size=256, turn=0.0) -> np.ndarray:
    """The square around a detected face, RGB, optionally turned by some degrees."""
    centre, side = face_squares(face.box[None], face.landmarks[None])
    matrix = cv2.getRotationMatrix2D(tuple(centre[0]), turn, size / side[0])
    matrix[:, 2] += size / 2 - centre[0]
    square = cv2.warpAffine(bgr, matrix, (size, size), borderMode=cv2.BORDER_REPLICATE)
    return cv2.cvtColor(square, cv2.COLOR_BGR2RGB)


def degraded(crop: np.ndarray) -> np.ndarray:
    small = cv2.resize(crop, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    noise = np.random.default_rng(0).normal(0, 8, small.shape)
    return cv2.resize(cv2.add(small, noise, dtype=cv2.CV_8U), crop.shape[:2])


@pytest.fixture(scope="module")
def head(portrait, centerface):
    (face,) = centerface.detect(portrait)
    return portrait, face


def test_an_appearance_is_a_unit_vector(head):
    vector = appearance(crop_of(*head))
    assert vector.shape == (594,) and vector.dtype == np.float32
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    assert same_person(vector, vector)


def test_a_person_returns_in_other_light_noise_size_and_pose(head):
    known = appearance(crop_of(*head))
    crop = crop_of(*head)
    assert same_person(known, appearance(degraded(crop)))
    assert same_person(known, appearance(cv2.convertScaleAbs(crop, alpha=0.6, beta=30)))
    assert same_person(known, appearance(cv2.resize(crop, (128, 128))))
    assert same_person(known, appearance(crop_of(*head, turn=3)))


def test_hundred_strangers_are_never_taken_for_each_other():
    """LFW faces of 25 px without hair or colour, the least there can be to tell people apart."""
    faces = (data.lfw_subset()[:100] * 255).clip(0, 255).astype(np.uint8)
    vectors = [appearance(np.repeat(cv2.resize(f, (96, 96))[..., None], 3, 2)) for f in faces]
    alike = [likeness(a, b) for a, b in itertools.combinations(vectors, 2)]
    assert len(alike) == 4950 and max(alike) < 0.82
    assert not any(same_person(a, b) for a, b in itertools.combinations(vectors, 2))


def test_people_of_different_clips_are_different(shared_clips, centerface, read):
    people = []
    for clip in shared_clips:
        crops = []
        for frame in read(clip, step=30, most=3):
            crops += [crop_of(frame, face) for face in centerface.detect(frame)[:1]]
        people.append([appearance(c) for c in [*crops, *map(degraded, crops)]])
    for one, other in itertools.combinations(people, 2):
        assert not any(same_person(a, b) for a in one for b in other)
    returned = [same_person(p[i], p[i + len(p) // 2]) for p in people for i in range(len(p) // 2)]
    assert np.mean(returned) > 0.9  # the same frame, degraded


@given(arrays(np.uint8, st.integers(1, 40).map(lambda s: (s, s, 3))))
def test_any_crop_has_an_appearance(crop):
    vector = appearance(crop)
    assert np.isfinite(vector).all() and np.linalg.norm(vector) < 1.001


def test_the_best_frame_is_sharp_frontal_and_sure(head):
    crop = crop_of(*head)
    crops = np.stack([crop] * 4)
    points = np.tile(TEMPLATE, (4, 1, 1))
    scores = np.full(4, 0.9)
    blurred = crops.copy()
    for i in (0, 1, 3):
        blurred[i] = cv2.GaussianBlur(crop, (0, 0), 2)
    assert best_frame(blurred, landmarks=points, scores=scores) == 2
    profile = points.copy()
    profile[[0, 2, 3], 2, 0] += 40
    assert best_frame(crops, landmarks=profile, scores=scores) == 1
    assert best_frame(crops, landmarks=points, scores=np.array([0, 0.5, 0, 0.9])) == 3


def test_flat_crops_have_a_best_frame_too():
    crops = np.full((3, 64, 64, 3), 90, np.uint8)
    scores = np.array([0.2, 0.9, 0.0])
    assert best_frame(crops, landmarks=np.tile(TEMPLATE, (3, 1, 1)), scores=scores) == 1
    with pytest.raises(ValueError, match="as many"):
        best_frame(crops, landmarks=np.tile(TEMPLATE, (2, 1, 1)), scores=scores)


def test_sharpness_of_a_crop_ignores_contrast(head):
    crop = crop_of(*head)
    sharp = crop_sharpness(crop)
    assert crop_sharpness(cv2.GaussianBlur(crop, (0, 0), 2)) < sharp / 2
    assert crop_sharpness(crop // 2 + 50) == pytest.approx(sharp, rel=0.15)


@given(st.floats(-180, 180), st.floats(0.1, 10), st.floats(-60, 60))
def test_frontality_ignores_roll_and_size_and_falls_with_turning(roll, zoom, turn):
    points = TEMPLATE.copy()
    points[2, 0] += turn
    angle = np.deg2rad(roll)
    matrix = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    assert frontality(points @ matrix.T) == pytest.approx(frontality(points))
    assert 0 < frontality(points) <= 1
    further = points + np.array([[0, 0], [0, 0], [np.copysign(5, turn), 0], [0, 0], [0, 0]])
    assert frontality(further) < frontality(points)
