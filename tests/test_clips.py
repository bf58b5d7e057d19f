"""Chunks of shots, and who is who."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from facerestore.bench import Unchanged
from facerestore.clips import FaceCrop, chunks, restored
from facerestore.faces.track import Ignored
from facerestore.frames import CropPath, FaceTrack, Shot
from facerestore.models.windows import chunk_ranges
from facerestore.options import RestoreOptions, Tools
from facerestore.people import People
from facerestore.survey import Survey


@given(st.integers(1, 900), st.integers(2, 200), st.data())
def test_chunks_cover_a_shot_and_share_the_overlap(n, limit, data):
    overlap = data.draw(st.integers(0, limit - 1))
    chunks = chunk_ranges(n, limit=limit, overlap=overlap)
    assert chunks[0].start == 0
    assert chunks[-1].stop == n
    assert all(len(chunk) <= limit for chunk in chunks)
    for left, right in itertools.pairwise(chunks):
        assert left.stop - right.start == overlap
        assert len(right) > overlap


class Counts(Unchanged):
    """Returns its input and remembers the clips and references it was given."""

    def __init__(self):
        super().__init__(16, 8)
        self.clips, self.references = [], []

    def restore(self, clip, tasks, reference, **how):
        self.clips.append(clip)
        self.references.append(reference)
        return clip.frames.copy()


class Silent:
    def chunk(self, shot, chunk, windows):
        return lambda: None


def all_of(frames, people):
    pieces = restored(chunks(frames, people.found.shots, people, Silent()), people, [])
    return [faces for piece in pieces for faces in piece.faces]


def track_of(number, first, last, shot=0):
    n = last - first + 1
    boxes, landmarks = (
        np.zeros((n, 4)),
        np.tile(np.array([[0.0, 0], [2, 0], [1, 1], [0, 2], [2, 2]]), (n, 1, 1)),
    )
    boxes[:, 2:] = 2
    return FaceTrack(number, shot, first, boxes, landmarks, np.ones(n))


def people_for(tracks, restorer):
    paths = tuple(CropPath(t.first, np.zeros((len(t), 2)), np.ones(len(t))) for t in tracks)
    last = max(t.last for t in tracks)
    found = Survey(last + 1, (Shot(0, 0, last),), tuple(tracks), paths, Ignored(), 25.0)
    return People(found, Tools(restorer, None, None, {}), RestoreOptions())


def faces_of(tracks, n_frames, pictures):
    for number in range(n_frames):
        yield [
            FaceCrop(i, number, np.eye(2, 3), pictures[i], pictures[i], None, None)
            for i, track in enumerate(tracks)
            if track.first <= number <= track.last
        ]


def face(seed):
    """A smooth random picture, uint8 [16, 16, 3]."""
    import cv2

    rng = np.random.default_rng(seed)
    return cv2.resize(rng.integers(0, 256, (5, 5, 3), np.uint8), (16, 16))


def test_a_long_shot_comes_out_whole_and_in_order():
    restorer, tracks = Counts(), [track_of(0, 0, 299), track_of(1, 50, 260)]
    people = people_for(tracks, restorer)
    frames = faces_of(tracks, 300, [face(0), face(1)])
    result = all_of(frames, people)
    assert len(result) == 300
    for number, faces in enumerate(result):
        assert [f.track for f in faces] == [i for i, t in enumerate(tracks)
                                            if t.first <= number <= t.last]  # fmt: skip
        assert all(f.frame == number for f in faces)
        assert all((f.restored == f.source).all() for f in faces)
    assert max(len(clip) for clip in restorer.clips) <= 128


def test_the_first_window_becomes_the_reference_of_all_that_follows():
    restorer, tracks = Counts(), [track_of(0, 0, 199)]
    people = people_for(tracks, restorer)
    all_of(faces_of(tracks, 200, [face(0)]), people)
    assert restorer.references[0] is None
    assert len(restorer.clips[0]) == 8
    assert all(r is restorer.references[1] for r in restorer.references[1:])
    assert (restorer.references[1].image == face(0)).all()


def test_who_comes_back_is_known_and_who_is_there_at_once_is_somebody_else():
    tracks = [track_of(0, 0, 9), track_of(1, 0, 9), track_of(2, 20, 29)]
    people = people_for(tracks, Counts())
    frames = faces_of(tracks, 30, [face(0), face(0), face(0)])
    all_of(frames, people)
    assert people.numbers[0] != people.numbers[1]
    assert people.numbers[2] == people.numbers[0]


def test_other_faces_are_other_people():
    tracks = [track_of(0, 0, 9), track_of(1, 20, 29)]
    people = people_for(tracks, Counts())
    all_of(faces_of(tracks, 30, [face(0), face(7)]), people)
    assert people.numbers == {0: 0, 1: 1}
