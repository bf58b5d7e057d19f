"""Following faces: where they are between detections, who is who, and what is left alone."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facerestore.faces.flow import STAY, Motion, motions, sharpness
from facerestore.faces.track import DETECT_EVERY, RETRIES, Ignored, ShotTracker, largest
from facerestore.frames import Face, FaceTrack

SHAPE = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])
RATE = 25.0
WALL = np.random.default_rng(0).integers(0, 255, (180, 320), np.uint8)  # nothing to follow in noise
PLAIN = np.full((180, 320), 128, np.uint8)


def face(x: float, y: float, side: float = 100.0, score: float = 0.9) -> Face:
    """A square face with its corner at (x, y)."""
    corner = np.array([x, y])
    return Face(np.concatenate([corner, corner + side]), corner + SHAPE * side, score)


def follow(faces_at, frames: int, *, grey=PLAIN, last=None, first=0, **options):
    """Push `frames` frames, the faces of frame i being faces_at(i), None where not searched."""
    tracker = ShotTracker(3, first=first, scale=0.25, rate=RATE, **options)
    for i in range(first, first + frames):
        tracker.push(i, grey, faces_at(i))
    return tracker.finish(last)


def every_fifth(faces_at):
    return lambda i: faces_at(i) if i % DETECT_EVERY == 0 else None


def test_between_detections_the_real_motion_is_followed(centerface, portrait, placed, grey):
    """A head swinging 40 px at 1 Hz: a straight line between detections would be 5 px off."""
    where = [(180 + 40 * np.sin(2 * np.pi * i / 25), 100 + 0.5 * i) for i in range(40)]
    tracker = ShotTracker(0, first=0, scale=0.5, rate=RATE)
    searched = 0
    for i, (x, y) in enumerate(where):
        frame = placed(portrait, x, y)
        wanted = tracker.wants_detection(i)
        searched += wanted
        tracker.push(i, grey(frame, 0.5), centerface.detect(frame) if wanted else None)
    (track,) = tracker.finish().tracks
    assert (track.first, track.last) == (0, 39)
    assert searched == 8
    off = track.landmarks.mean(axis=1) - where
    assert np.abs(off - np.median(off, axis=0)).max() < 2.0
    assert (track.scores > 0).sum() == 8


def test_a_growing_head_is_followed_in_size(portrait, placed, grey, centerface):
    frames = [placed(portrait, 180 - 2 * i, 100 - i, zoom=1 + 0.01 * i) for i in range(16)]
    faces = centerface.detect(frames[0])
    tracker = ShotTracker(0, first=0, scale=0.5, rate=RATE, every=20)
    for i, frame in enumerate(frames):
        tracker.push(i, grey(frame, 0.5), faces if i == 0 else None)
    (track,) = tracker.finish(12).tracks
    height = track.boxes[:, 3] - track.boxes[:, 1]
    assert height[12] / height[0] == pytest.approx(1.12, abs=0.02)


def test_the_track_is_the_detection_where_there_is_one_and_a_line_where_nothing_is_known():
    moving = every_fifth(lambda i: [face(10 + 4 * i, 20)])
    (track,) = follow(moving, 21).tracks
    assert len(track) == 21 and track.shot == 3
    assert track.boxes[:, 0] == pytest.approx(10 + 4 * np.arange(21))
    assert track.landmarks[:, 2, 1] == pytest.approx(20 + 60)
    assert ((track.scores > 0) == (np.arange(21) % 5 == 0)).all()


def test_gaps_are_filled_up_to_half_a_second_and_no_longer():
    def hidden(length):
        return lambda i: [] if 20 < i <= 20 + length else [face(10 + i, 20)]

    (track,) = follow(hidden(11), 60).tracks
    assert len(track) == 60
    assert track.boxes[:, 0] == pytest.approx(10 + np.arange(60))
    assert (track.scores[21:32] == 0).all()
    tracks = follow(hidden(14), 60).tracks
    assert [(t.first, t.last) for t in tracks] == [(0, 20), (35, 59)]
    assert [t.person for t in tracks] == [0, 1]


def test_people_who_pass_each_other_are_not_exchanged():
    """Heads 60 px apart in height cross within 10 frames."""
    both = every_fifth(lambda i: [face(10 + 8 * i, 20), face(410 - 8 * i, 80)][:: (-1) ** i])
    first, second = sorted(follow(both, 51).tracks, key=lambda t: t.boxes[0, 0])
    assert (np.diff(first.boxes[:, 0]) > 0).all() and (first.boxes[:, 1] == 20).all()
    assert (np.diff(second.boxes[:, 0]) < 0).all() and (second.boxes[:, 1] == 80).all()


def test_a_wrong_detection_between_two_that_agree_is_dropped():
    (track,) = follow(every_fifth(lambda i: [face(10 + 40 * (i == 20), 20)]), 41).tracks
    assert track.boxes[:, 0] == pytest.approx(10)
    assert track.scores[20] == 0


def test_a_face_that_appears_between_two_searches_is_followed_back(portrait, placed, grey):
    frame = grey(placed(portrait, 180, 100), 0.5)
    late = every_fifth(lambda i: [face(220, 130, 120)] if i >= 10 else [])
    (track,) = follow(late, 30, grey=frame).tracks
    assert (track.first, track.last) == (6, 29)
    assert (track.scores[:4] == 0).all()


def test_detections_are_wanted_at_the_start_every_fifth_frame_and_where_unsure():
    tracker = ShotTracker(0, first=7, scale=0.25, rate=RATE)
    asked = []
    for i in range(7, 40):
        wanted = tracker.wants_detection(i)
        asked += [i] * wanted
        tracker.push(i, PLAIN, ([face(10, 20)] if i < 22 else []) if wanted else None)
    assert asked[0] == 7 and {12, 17, 22, 27, 32, 37} <= set(asked)
    assert {23, 24, 25} <= set(asked)  # missed at 22
    assert all(len([a for a in asked if f < a < f + 5]) <= RETRIES for f in range(7, 40, 5))
    assert set(asked) & {38, 39} == set()  # given up after half a second


def test_a_lost_motion_asks_for_a_detection(portrait, placed, grey):
    tracker = ShotTracker(0, first=0, scale=0.5, rate=RATE)
    frame = grey(placed(portrait, 180, 100), 0.5)
    tracker.push(0, frame, [face(220, 130, 120)])
    tracker.push(1, frame, None)
    assert not tracker.wants_detection(2)
    tracker.push(2, np.random.default_rng(1).integers(0, 255, frame.shape, np.uint8), None)
    assert tracker.wants_detection(3)


@pytest.mark.parametrize("frames", [1, 2, 4])
def test_a_film_of_a_few_frames_is_followed_too(frames):
    (track,) = follow(every_fifth(lambda i: [face(10, 20)]), frames, grey=WALL).tracks[:1]
    assert track.first == 0


def test_a_still_picture_of_one_frame_has_its_face():
    found = follow(lambda i: [face(10, 20)], 1)
    assert [len(t) for t in found.tracks] == [1] and not found.ignored


def test_what_is_left_alone_is_counted_with_its_reason():
    def crowd(i):
        flash = [face(600, 300)] if i == 10 else []
        ghost = [face(900, 20, 100, score=0.5)]  # without any detail in the grey picture
        return [face(10, 20), face(300, 20, side=38), *ghost, *flash]

    found = follow(every_fifth(crowd), 30)
    assert found.ignored == Ignored(small=1, blurred=1, short=1)
    assert [t.boxes[0, 0] for t in found.tracks] == [10]
    assert follow(every_fifth(crowd), 30, min_face=30).ignored == Ignored(blurred=1, short=1)
    assert found.ignored + Ignored(short=2) == Ignored(1, 1, 3) and not Ignored()


appearances = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 30)), max_size=3)


@settings(max_examples=60, deadline=None)
@given(appearances, st.integers(1, 6), st.integers(2, 45), st.integers(1, 5), st.integers(0, 9))
def test_what_comes_after_the_shots_end_leaves_no_trace(spans, every, length, extra, first):
    """And tracks are whole: inside the shot, finite, with a detection, in order."""

    def faces_at(i):
        if (i - first) % every:
            return None
        here = [k for k, (begin, n) in enumerate(spans) if begin <= i - first < begin + n]
        return [face(200 * k + 3 * i, 20 * k) for k in here]

    options = {"first": first, "every": every}
    known = follow(faces_at, length, **options)
    late = follow(faces_at, length + extra, last=first + length - 1, **options)
    assert late.ignored == known.ignored and len(late.tracks) == len(known.tracks)
    for one, other in zip(late.tracks, known.tracks, strict=True):
        assert first <= one.first <= one.last < first + length
        assert (one.first, one.last, one.person) == (other.first, other.last, other.person)
        assert np.array_equal(one.boxes, other.boxes) and np.isfinite(one.landmarks).all()
        assert one.scores.max() > 0


def test_frames_must_come_in_order():
    tracker = ShotTracker(0, first=4, scale=0.5, rate=RATE)
    with pytest.raises(ValueError, match="expected frame 4"):
        tracker.push(5, PLAIN, None)
    with pytest.raises(ValueError, match="rate"):
        ShotTracker(0, first=0, scale=0.5, rate=0)


def track(first: int, n: int, side: float) -> FaceTrack:
    one = face(0, 0, side)
    boxes, points = np.tile(one.box, (n, 1)), np.tile(one.landmarks, (n, 1, 1))
    return FaceTrack(0, 0, first, boxes, points, np.ones(n))


def test_the_largest_person_is_one_at_a_time():
    big, returned, small = track(0, 20, 90), track(30, 10, 80), track(10, 25, 40)
    assert largest([small, returned, big]) == [big, returned]
    assert largest([]) == []


amounts = st.floats(-500, 500)
some_motion = st.builds(Motion, st.floats(0.5, 2), st.tuples(amounts, amounts))


@given(some_motion, some_motion)
def test_motions_follow_each_other_and_can_be_undone(one, other):
    box = np.array([10.0, 20.0, 60.0, 90.0])
    assert other.after(one).of_box(box) == pytest.approx(other.of_box(one.of_box(box)), abs=1e-6)
    assert one.reversed().of_box(one.of_box(box)) == pytest.approx(box, abs=1e-6)
    assert one.after(STAY) == one


@pytest.mark.parametrize("shift", [(0, 0), (3.5, -2.25), (20, 11)])
def test_flow_is_measured_in_display_pixels(portrait, placed, grey, shift):
    before = placed(portrait, 180, 100)
    after = placed(portrait, 180 + shift[0], 100 + shift[1])
    box = np.array([250.0, 140.0, 350.0, 260.0])
    (motion,) = motions(grey(before, 0.5), grey(after, 0.5), [box], scale=0.5)
    assert motion is not None
    assert motion.of_box(box) - box == pytest.approx([*shift, *shift], abs=0.4)


def test_flow_is_unknown_where_nothing_can_be_followed(portrait, placed, grey):
    picture = grey(placed(portrait, 180, 100), 0.5)
    boxes = [np.array([2000.0, 0, 2100, 90]), np.array([250.0, 140, 350, 260])]
    other = np.random.default_rng(0).integers(0, 255, picture.shape, np.uint8)
    assert motions(picture, other, boxes, scale=0.5) == [None, None]
    outside, inside = motions(picture, picture, boxes, scale=0.5)
    assert outside is None and inside is not None
    assert motions(picture, picture, [], scale=0.5) == []


def test_sharpness_falls_with_blur_and_ignores_contrast(portrait, grey):
    import cv2

    box = np.array([160.0, 60.0, 290.0, 190.0])
    sharp = sharpness(grey(portrait, 1.0), box, scale=1.0)
    soft = sharpness(grey(cv2.GaussianBlur(portrait, (0, 0), 4), 1.0), box, scale=1.0)
    assert soft < sharp / 2
    assert sharpness(grey(portrait // 2 + 60, 1.0), box, scale=1.0) == pytest.approx(sharp, rel=0.2)
    assert sharpness(PLAIN, box, scale=1.0) == 0
    assert sharpness(PLAIN, box + 5000, scale=1.0) == 0


def test_the_real_clips_are_followed_from_end_to_end(centerface, shared_clips, read, grey):
    """One person a clip (two in keep_real_3) from the first frame to the last, one track each."""
    for clip in shared_clips:
        frames = list(read(clip, most=30))
        scale = float(Fraction(320, max(frames[0].shape)))
        tracker = ShotTracker(0, first=0, scale=scale, rate=RATE)
        for i, frame in enumerate(frames):
            wanted = tracker.wants_detection(i)
            tracker.push(i, grey(frame, scale), centerface.detect(frame) if wanted else None)
        spans = [(t.first, t.last) for t in tracker.finish().tracks]
        assert spans == [(0, 29)] * (2 if "real_3" in clip.name else 1), clip.name
