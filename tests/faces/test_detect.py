"""Detectors: what they find, where, in what order, and how they fail."""

import shutil

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facerestore.errors import ModelError, UsageError
from facerestore.faces import detect
from facerestore.faces.detect import Detector, Found, load_detector

EYES = np.array([[203.0, 100.7], [247.0, 103.8]])  # of the portrait, read off the picture


def test_centerface_finds_the_portrait_without_a_word(centerface, portrait, capfd):
    (face,) = centerface.detect(portrait)
    assert np.abs(face.landmarks[:2] - EYES).max() < 4
    assert face.score > 0.5
    left, top, right, bottom = face.box
    assert (face.landmarks > [left, top]).all() and (face.landmarks < [right, bottom]).all()
    assert capfd.readouterr().out == ""


def test_landmarks_are_named_by_their_side_in_the_picture(centerface, portrait):
    for picture in (portrait, np.ascontiguousarray(portrait[:, ::-1])):
        (face,) = centerface.detect(picture)
        left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks
        assert left_eye[0] < nose[0] < right_eye[0]
        assert left_mouth[0] < right_mouth[0]
        assert left_eye[1] < nose[1] < left_mouth[1]


@pytest.mark.parametrize("zoom", [0.5, 1.0, 2.5])
def test_coordinates_are_those_of_the_picture_given(centerface, portrait, zoom):
    picture = cv2.resize(portrait, None, fx=zoom, fy=zoom)
    (face,) = centerface.detect(picture)
    assert np.abs(face.landmarks[:2] / zoom - EYES).max() < 4


def test_a_face_cut_off_at_the_edge_keeps_its_landmarks_in_place(centerface, portrait):
    (whole,) = centerface.detect(portrait)
    cut = 205  # through the eye
    faces = centerface.detect(np.ascontiguousarray(portrait[:, cut:]))
    (face,) = [face for face in faces if face.box[0] < 40]
    assert np.abs(face.landmarks - (whole.landmarks - [cut, 0])).max() < 10


def test_a_picture_without_a_face_or_of_any_shape_gives_none(centerface):
    noise = np.random.default_rng(0).integers(0, 255, (90, 160, 3), np.uint8)
    assert centerface.detect(noise) == []
    for shape in ((1, 1), (2, 900), (700, 3)):
        assert centerface.detect(np.zeros((*shape, 3), np.uint8)) == []


@pytest.mark.parametrize("picture", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3), np.float32)])
def test_only_byte_pictures_are_taken(centerface, picture):
    with pytest.raises(ValueError, match="expected uint8"):
        centerface.detect(picture)


def test_two_people_are_two_faces(centerface, portrait):
    faces = centerface.detect(np.hstack([portrait, portrait]))
    assert len(faces) == 2
    assert abs(abs(faces[0].box[0] - faces[1].box[0]) - 512) < 10


def test_one_face_found_twice_is_one_face_and_the_best_comes_first():
    boxes = np.array([[10, 10, 50, 60], [12, 10, 52, 61], [20, 20, 35, 35], [60, 10, 90, 50.0]])
    points = np.zeros((4, 5, 2))
    scores = np.array([0.7, 0.9, 0.95, 0.99]) * [1, 1, 0.5, 1]
    detector = Detector("fixed", "", lambda bgr: Found(boxes, points, scores))
    faces = detector.detect(np.zeros((416, 416, 3), np.uint8))
    assert [face.score for face in faces] == [0.99, 0.9]


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_the_working_picture_fits_the_network_and_the_budget(width, height):
    picture, scale = detect._working_picture(np.zeros((height, width, 3), np.uint8))
    longest = max(width, height) * scale
    assert detect.LEAST_SIDE <= round(longest) <= detect.MOST_SIDE
    assert picture.shape[0] % 32 == 0 and picture.shape[1] % 32 == 0
    if detect.LEAST_SIDE < round(longest) < detect.MOST_SIDE:
        assert scale == pytest.approx(detect.SHRINK)


def test_unknown_names_are_usage_errors():
    with pytest.raises(UsageError, match="centerface"):
        load_detector("yolo")


def test_auto_needs_no_download(offline, portrait):
    detector = load_detector()
    assert detector.name == "centerface"
    assert len(detector.weights_sha256) == 64


def test_a_detector_asked_for_by_name_and_absent_says_where_to_put_it(offline):
    with pytest.raises(ModelError, match=f"Resnet50_Final.pth: not in {offline}"):
        load_detector("retinaface_resnet50")


@pytest.mark.parametrize("damage", ["garbage", "empty", "other"])
def test_damaged_weights_are_model_errors(offline, damage):
    import torch

    path = offline / detect.WEIGHTS["retinaface_mobile0.25"]
    if damage == "other":
        torch.save({"body.weight": torch.zeros(3)}, path)
    else:
        path.write_bytes(b"nothing like it" * (damage == "garbage"))
    with pytest.raises(ModelError, match="fetch"):
        load_detector("auto")


@pytest.fixture(scope="module")
def retinaface(shared_weights):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACERESTORE_WEIGHTS", str(shared_weights))
        return load_detector("auto")


@pytest.mark.weights
def test_auto_prefers_retinaface_where_its_weights_are(retinaface, shared_weights, portrait):
    assert retinaface.name == "retinaface_mobile0.25"
    assert retinaface.weights_sha256.startswith("38ec7bb3")
    (face,) = retinaface.detect(portrait)
    assert np.abs(face.landmarks[:2] - EYES).max() < 4


@pytest.mark.weights
def test_truncated_weights_are_a_model_error(offline, shared_weights):
    name = detect.WEIGHTS["retinaface_mobile0.25"]
    shutil.copyfile(shared_weights / name, offline / name)
    with (offline / name).open("r+b") as file:
        file.truncate(900_000)
    with pytest.raises(ModelError, match="not a weights file"):
        load_detector("auto")


@pytest.mark.weights
def test_both_detectors_agree_on_the_real_clips(retinaface, centerface, shared_clips, read):
    for clip in shared_clips:
        for frame in read(clip, step=45, most=2):
            faces, others = retinaface.detect(frame), centerface.detect(frame)
            assert len(faces) == len(others) > 0, clip.name
            for face in faces:
                height = face.box[3] - face.box[1]
                off = min(np.abs(face.landmarks - o.landmarks).mean() for o in others)
                assert off < 0.08 * height, clip.name
