"""Plain pictures in and out."""

from __future__ import annotations

import struct
from fractions import Fraction
from itertools import islice

import av
import numpy as np
import pytest

from facerestore.errors import BadInputError, UsageError
from facerestore.video.reader import open_video
from facerestore.video.simple import read_mask, read_picture, write_rgb


def ramp(index=0, height=48, width=64):
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 3, y * 4, np.full_like(x, 40 + index)], axis=-1).astype(np.uint8)


def save(path, picture, *, codec="png", pix_fmt="rgb24"):
    context = av.CodecContext.create(codec, "w")
    context.height, context.width = picture.shape[:2]
    context.pix_fmt, context.time_base = pix_fmt, Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(picture, format=pix_fmt if codec == "png" else "rgb24")
    packets = [*context.encode(frame.reformat(format=pix_fmt)), *context.encode(None)]
    data = b"".join(bytes(p) for p in packets)
    path.write_bytes(data)
    return path


def write(path, pictures, pts, **more):
    arguments = {"time_base": Fraction(1, 12800), "rate": Fraction(25), **more}
    return write_rgb(path, pictures, pts=pts, **arguments)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_pictures_become_a_film_with_their_times_and_colours(tmp_path, name):
    pts = [0, 512, 1536, 2048]
    assert write(tmp_path / name, (ramp(i) for i in range(4)), pts) == 4
    film = open_video(tmp_path / name)
    frames = list(film.frames())
    assert [film.seconds(f) for f in frames] == pytest.approx([p / 12800 for p in pts])
    assert film.info.color_space == 1
    assert np.abs(frames[3].to_ndarray(format="rgb24").astype(int) - ramp(3)).mean() < 2


@pytest.mark.parametrize(
    ("pictures", "pts", "match"),
    [
        ([ramp(height=47)], [0], "even"),
        ([ramp(), ramp(height=46)], [0, 1], "not like the first"),
        ([ramp()], [0, 1], "argument"),
        ([], [], "no pictures"),
    ],
)
def test_impossible_pictures_are_refused_and_leave_no_file(tmp_path, pictures, pts, match):
    with pytest.raises(ValueError, match=match):
        write(tmp_path / "a.mp4", pictures, pts)
    assert list(tmp_path.iterdir()) == []


def test_a_film_is_not_replaced_unasked(tmp_path):
    write(tmp_path / "a.mp4", [ramp()], [0])
    with pytest.raises(UsageError, match="exists"):
        write(tmp_path / "a.mp4", [ramp()], [0])
    write(tmp_path / "a.mp4", [ramp()], [0], overwrite=True)


def test_a_picture_is_read_as_it_is(tmp_path):
    assert np.array_equal(read_picture(save(tmp_path / "a.png", ramp())), ramp())


def test_transparency_is_ignored(tmp_path):
    picture = np.dstack([ramp(), np.zeros(ramp().shape[:2], np.uint8)])
    path = save(tmp_path / "a.png", picture, pix_fmt="rgba")
    assert np.array_equal(read_picture(path), ramp())


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (6, -1), (3, 2), (8, 1)])
def test_photos_held_sideways_are_turned_upright(tmp_path, orientation, turns):
    path = save(tmp_path / "a.jpg", ramp(), codec="mjpeg", pix_fmt="yuvj444p")
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    exif = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1) + entry + bytes(4)
    data = path.read_bytes()
    path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:])
    upright = np.rot90(ramp(), turns).astype(int)
    picture = read_picture(path)
    assert picture.shape == upright.shape
    assert np.abs(picture - upright).mean() < 4


def test_a_still_mask_holds_for_ever(tmp_path):
    picture = np.zeros((8, 10, 3), np.uint8)
    picture[2:4, 3:6] = 255
    masks = list(islice(read_mask(save(tmp_path / "m.png", picture)), 30))
    assert all(np.array_equal(mask, picture[..., 0] > 0) for mask in masks)


@pytest.mark.parametrize(("grey", "hole"), [(127, False), (128, True)])
def test_holes_begin_at_middle_grey(tmp_path, grey, hole):
    path = save(tmp_path / "m.png", np.full((4, 4, 3), grey, np.uint8))
    assert next(read_mask(path)).all() == hole


def test_a_mask_film_ends_with_its_last_frame(tmp_path):
    pictures = [np.full((16, 16, 3), 255 * (i % 2), np.uint8) for i in range(4)]
    write(tmp_path / "m.mp4", pictures, range(0, 4 * 512, 512))
    shares = [mask.mean() for mask in islice(read_mask(tmp_path / "m.mp4"), 7)]
    assert shares == [0, 1, 0, 1, 1, 1, 1]


def test_a_mask_that_cannot_be_read_is_refused_at_once(tmp_path):
    (tmp_path / "m.png").write_bytes(b"not a picture")
    with pytest.raises(BadInputError, match=r"m\.png"):
        read_mask(tmp_path / "m.png")


def test_the_real_mask(shared_clips):
    holes = next(read_mask(shared_clips / "lq3_mask.png"))
    assert holes.shape == (512, 512)
    assert holes.mean() == pytest.approx(0.058, abs=0.001)
