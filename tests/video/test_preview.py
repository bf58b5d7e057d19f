"""Small copies and stills of films, also of those that have no index to seek by."""

from fractions import Fraction

import av
import numpy as np
import pytest

from facerestore.video.preview import picture_near, write_preview
from facerestore.video.reader import open_video

FRAMES, RATE = 150, 25


@pytest.fixture(params=["film.ts", "film.mpg", "film.avi", "film.mp4", "film.mkv"])
def film(request, tmp_path):
    """Six seconds of flat pictures that grow lighter, so that a level tells the time."""
    path = tmp_path / request.param
    codec = "mpeg2video" if path.suffix in (".ts", ".mpg") else "mpeg4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=RATE, options={"g": "12", "qmin": "2", "qmax": "2"})
        stream.width, stream.height, stream.pix_fmt = 192, 144, "yuv420p"
        for number in range(FRAMES):
            picture = np.full((144, 192, 3), 20 + 1.4 * number, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return open_video(path)


def frame_of(picture):
    return (float(picture.mean()) - 20) / 1.4


@pytest.mark.parametrize("seconds", [0.0, 0.7, 3.21, 5.9, 60.0])
def test_a_still_is_of_its_moment(film, seconds):
    picture = picture_near(film, seconds, long_side=96)
    assert picture.shape == (72, 96, 3)
    wanted = min(seconds * RATE, FRAMES - 1)
    assert frame_of(picture) == pytest.approx(np.floor(wanted + 1e-6), abs=2.5)


def test_a_copy_of_a_part_begins_there(film, tmp_path):
    copy = tmp_path / "copy.mp4"
    write_preview(film, copy, 4.0, 5.0, long_side=96, near=True)
    frames = list(open_video(copy).frames())
    assert 20 <= len(frames) <= 26
    assert frame_of(frames[0].to_ndarray(format="rgb24")) == pytest.approx(100, abs=6)
