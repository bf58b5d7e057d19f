"""The shipped example is what the README says."""

from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest

from facerestore.faces.detect import load_detector


def test_it_is_small_and_has_sound_and_chapters(example):
    assert sum(path.stat().st_size for path in Path(example).parent.iterdir()) < 2_000_000
    with av.open(str(example)) as film:
        assert len(film.chapters()) == 2
        assert film.streams.audio[0].codec_context.name == "aac"
        assert sum(1 for _ in film.decode(video=0)) == 100


def test_the_face_is_found_where_it_is_drawn(example):
    detector = load_detector("centerface")
    with av.open(str(example)) as film:
        for frame in islice(film.decode(video=0), 0, 100, 10):
            (face,) = detector.detect(frame.to_ndarray(format="bgr24"))
            assert face.score > 0.6
            eyes, mouth = face.landmarks[:2].mean(axis=0), face.landmarks[3:].mean(axis=0)
            assert 50 < np.linalg.norm(face.landmarks[1] - face.landmarks[0]) < 90
            assert mouth[1] - eyes[1] == pytest.approx(72, abs=15)
