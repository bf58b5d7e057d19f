"""The crop path: where the face lies in it, how still it is, and that it does not lag."""

import io

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facerestore.faces.crop import TEMPLATE, crop_path, face_squares
from facerestore.faces.track import ShotTracker
from facerestore.frames import FaceTrack

LANDMARKS = np.array([[193.0, 240], [319, 240], [256, 314], [201, 371], [313, 371]])  # of 512 px
BOX = np.array([136.0, 98.5, 376.0, 456.5])  # as detectors draw it around them
RATE = 25.0
SCALE = 100 / 126  # eyes 100 px apart
SIDE = TEMPLATE * SCALE


def seen(path, *, noise=1.5, every=5, each=False, seed=0, zoom=SCALE) -> FaceTrack:
    """A track whose template moves along `path` [n, 2], detected every few frames with noise.

    noise: px, white; of the whole face, or of each coordinate by itself
    """
    n = len(path)
    at = sorted({*range(0, n, every), n - 1})
    points = np.vstack([BOX.reshape(2, 2), LANDMARKS]) * zoom
    shake = np.random.default_rng(seed).normal(0, noise, (n, 7 if each else 1, 2))
    found = (points + path[:, None] + shake)[at].reshape(len(at), -1)
    lines = np.stack([np.interp(np.arange(n), at, column) for column in found.T], axis=1)
    scores = np.zeros(n)
    scores[at] = 0.9
    lines = lines.reshape(n, 7, 2)
    return FaceTrack(0, 0, 0, lines[:, :2].reshape(n, 4), lines[:, 2:], scores)


def along_x(x: np.ndarray) -> np.ndarray:
    return np.stack([x, np.zeros_like(x)], axis=1)


def jitter(centre: np.ndarray) -> float:
    """Root mean square of a path [n, 2] about its own mean over two seconds."""
    window = np.ones(51) / 51
    padded = np.pad(centre, ((25, 25), (0, 0)), mode="reflect")
    slow = np.stack([np.convolve(column, window, "valid") for column in padded.T], axis=1)
    return float(np.sqrt(((centre - slow) ** 2).mean()))


def error(track: FaceTrack, path: np.ndarray) -> np.ndarray:
    """How far the square is from where the face really is, [n], in sides."""
    centre = path + TEMPLATE / 2 * SCALE
    return np.linalg.norm(crop_path(track, rate=RATE).centre - centre, axis=1) / SIDE


def test_the_face_lies_as_in_the_training_crops():
    path = crop_path(seen(np.full((50, 2), 100.0), noise=0), rate=RATE)
    assert path.first == 0 and len(path) == 50
    to_display = path.matrix(25, 512)
    eyes = LANDMARKS[:2] @ to_display[:, :2].T + to_display[:, 2]
    assert eyes == pytest.approx(LANDMARKS[:2] * SCALE + 100, abs=1.0)


@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_still_head_stays_still(each, seed):
    track = seen(np.zeros((250, 2)), each=each, seed=seed)
    path = crop_path(track, rate=RATE)
    assert jitter(path.centre) < 0.3
    assert np.diff(path.centre, axis=0).std() < 0.1
    assert path.side.std() < 0.01 * SIDE
    assert jitter(track.landmarks.mean(axis=1)) > 0.4  # what it was before


def test_a_head_one_width_a_second_fast_stays_in_its_place():
    time = np.arange(100) / RATE
    for path in (along_x(240 * time), along_x(240 / 6.28 * np.sin(6.28 * time))):
        assert error(seen(path, noise=1.0), path).max() < 0.06


def test_a_sudden_start_is_followed_without_lag():
    time = np.arange(200) / RATE
    path = along_x(np.clip(time - 4, 0, 1) * 240)
    track = seen(path)
    assert error(track, path).max() < 0.04
    signed = crop_path(track, rate=RATE).centre[:, 0] - (path[:, 0] + SIDE / 2)
    assert abs(signed[100:125].mean()) < 0.01 * SIDE  # a lag of one frame would be 0.024


def test_after_a_jump_the_square_is_there_within_a_fifth_of_a_second():
    path = along_x(np.where(np.arange(120) < 60, 0.0, 100.0))
    off = error(seen(path, every=1), path)
    assert off[:55].max() < 0.02 and off[65:].max() < 0.02


def test_the_future_counts_as_the_past():
    path = along_x(np.cumsum(np.random.default_rng(3).normal(0, 2, 90)))
    forth = seen(path, every=1)
    back = FaceTrack(
        0, 0, 0, forth.boxes[::-1].copy(), forth.landmarks[::-1].copy(), forth.scores[::-1].copy()
    )
    one, other = crop_path(forth, rate=RATE), crop_path(back, rate=RATE)
    assert one.centre == pytest.approx(other.centre[::-1])
    assert one.side == pytest.approx(other.side[::-1])


def test_the_ends_do_not_lag():
    path = along_x(np.arange(60) * 6.0)
    off = error(seen(path, noise=0), path)
    assert off[[0, 1, -2, -1]].max() < 0.005


def test_a_profile_keeps_its_size():
    profile = seen(np.zeros((30, 2)), noise=0)
    turned = profile.landmarks.copy()
    turned[..., 0] = 190 + 0.2 * (turned[..., 0] - 190)  # all landmarks close to a vertical line
    centre, side = face_squares(profile.boxes, turned)
    assert side == pytest.approx(SIDE, rel=0.02)
    assert (np.abs(centre - SIDE / 2) < 0.1 * SIDE).all()


def test_lost_landmarks_fall_back_to_the_box():
    fine = seen(np.zeros((3, 2)), noise=0)
    nonsense = np.zeros_like(fine.landmarks)
    centre, side = face_squares(fine.boxes, nonsense)
    assert (np.abs(centre - SIDE / 2) < 0.3 * SIDE).all()
    assert ((side > 0.7 * SIDE) & (side < 1.4 * SIDE)).all()


@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_short_tracks_have_a_path_too(n):
    path = crop_path(seen(np.zeros((n, 2)), noise=0), rate=RATE)
    assert path.centre == pytest.approx(np.full((n, 2), SIDE / 2), abs=0.5)
    with pytest.raises(ValueError, match="rate"):
        crop_path(seen(np.zeros((n, 2))), rate=0)


walks = st.lists(st.floats(-12, 12), min_size=1, max_size=60)


@settings(deadline=None)  # the first call imports SciPy
@given(walks, st.floats(-3000, 3000), st.floats(0.2, 5), st.sampled_from([1.0, 12.5, 25, 60, 240]))
def test_the_path_moves_and_grows_with_the_picture(steps, shift, zoom, rate):
    """Tracking a shifted or enlarged film gives the shifted or enlarged path."""
    track = seen(along_x(np.cumsum(steps)), every=2)
    path = crop_path(track, rate=rate)
    other = FaceTrack(
        0, 0, 5, track.boxes * zoom + shift, track.landmarks * zoom + shift, track.scores
    )
    moved = crop_path(other, rate=rate)
    assert moved.first == 5 and len(moved) == len(steps)
    assert moved.centre == pytest.approx(path.centre * zoom + shift, abs=0.02 * SIDE * zoom)
    assert moved.side == pytest.approx(path.side * zoom)
    assert np.isfinite(moved.centre).all() and (moved.side > 0).all()


@settings(deadline=None)  # the first call imports SciPy
@given(walks, st.integers(1, 7), st.sampled_from([12.5, 25, 60]))
def test_the_path_is_the_same_backwards(steps, every, rate):
    """No lag, whatever the motion: the future counts as the past."""
    forth = seen(along_x(np.cumsum(steps)), every=every)
    turned = (part[::-1].copy() for part in (forth.boxes, forth.landmarks, forth.scores))
    one, other = crop_path(forth, rate=rate), crop_path(FaceTrack(0, 0, 0, *turned), rate=rate)
    assert one.centre == pytest.approx(other.centre[::-1], abs=1e-6)
    assert one.side == pytest.approx(other.side[::-1])


@settings(deadline=None)
@given(st.integers(2, 120), st.floats(-20, 20), st.floats(-20, 20), st.integers(1, 9))
def test_a_steady_motion_is_followed_exactly(n, across, down, every):
    path = np.outer(np.arange(n), [across, down])
    assert error(seen(path, noise=0, every=every), path) == pytest.approx(
        error(seen(path[:1], noise=0), path[:1])[0], abs=1e-6
    )


def encoded(pictures) -> list[np.ndarray]:
    """The pictures after H.264 at crf 30, BGR."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as film:
        stream = film.add_stream("libx264", rate=25, options={"crf": "30", "preset": "veryfast"})
        stream.height, stream.width = pictures[0].shape[:2]
        for picture in pictures:
            film.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        film.mux(stream.encode(None))
    buffer.seek(0)
    with av.open(buffer) as film:
        return [frame.to_ndarray(format="bgr24") for frame in film.decode(video=0)]


def test_a_real_still_picture_in_a_noisy_film_stays_still(portrait, placed, grey, centerface):
    random = np.random.default_rng(0)
    still = placed(portrait, 40, 20, size=(576, 768), zoom=2.0)  # eyes 88 px apart
    noisy = [cv2.add(still, random.normal(0, 8, still.shape), dtype=cv2.CV_8U) for _ in range(75)]
    tracker = ShotTracker(0, first=0, scale=0.4, rate=RATE)
    for i, frame in enumerate(encoded(noisy)):
        wanted = tracker.wants_detection(i)
        tracker.push(i, grey(frame, 0.4), centerface.detect(frame) if wanted else None)
    (track,) = tracker.finish().tracks
    path = crop_path(track, rate=RATE)
    assert jitter(path.centre) < 0.1
    assert np.sqrt(path.centre.var(axis=0).max()) < 0.3
    assert path.side.std() < 0.005 * path.side.mean()
