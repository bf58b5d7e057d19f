"""Films in closed segments: wherever they are cut, times and samples stay the same."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facerestore.video.profiles import choose_encoding
from facerestore.video.reader import open_video
from facerestore.video.segments import decoding_times, read_segments
from facerestore.video.writer import written


def reordered(shown, delays):
    """Times in an order in which an encoder could give them: each waits for a few later ones."""
    keyed = sorted(range(len(shown)), key=lambda i: (i - delays[i % len(delays)], i))
    return [shown[i] for i in keyed]


@given(
    st.lists(st.integers(1, 5000), min_size=1, max_size=60),
    st.lists(st.integers(0, 4), min_size=1, max_size=8),
    st.integers(-10_000, 10_000),
)
def test_decoding_times_increase_and_never_come_late(steps, delays, first):
    shown = [first + sum(steps[:i]) for i in range(len(steps))]
    pts = reordered(shown, delays)
    dts = decoding_times(pts)
    assert len(dts) == len(pts)
    assert all(a < b for a, b in pairwise(dts))
    assert all(d <= p for d, p in zip(dts, pts, strict=True))
    if pts == shown:
        assert dts == pts


def test_no_packets_have_no_times():
    assert decoding_times([]) == []


def cut_up(film, path, folder, profile, cuts):
    encoding = choose_encoding(film.info, profile, suffix=path.suffix)
    with written(film, path, encoding=encoding, folder=folder, note="n") as sink:
        for number, frame in enumerate(film.frames()):
            if number in cuts:
                sink.cut()
            sink.write(frame)
    return sink


SHARED = [HealthCheck.function_scoped_fixture]  # the same film for all examples will do


@settings(max_examples=8, deadline=None, suppress_health_check=SHARED)
@given(cuts=st.sets(st.integers(1, 23)), profile=st.sampled_from(["archive", "lossless"]))
def test_cuts_change_nothing_in_lossless_films(make_film, planes_of, times_of, cuts, profile):
    pts = [3600 * i + 700 * (i % 3) for i in range(24)]
    path = make_film(pts=pts, frames=24, time_base=Fraction(1, 90000), options={"bf": "2"})
    film = open_video(path)
    with TemporaryDirectory() as folder:
        out = Path(folder) / "out.mkv"
        cut_up(film, out, Path(folder), profile, cuts)
        assert len(read_segments(Path(folder))) == len(cuts) + 1
        assert all(
            (a == b).all()
            for p, q in zip(planes_of(path), planes_of(out), strict=True)
            for a, b in zip(p, q, strict=True)
        )
        before, after = times_of(path), times_of(out)
        assert all(abs(a - b) <= 0.0005 for a, b in zip(before, after, strict=True))


CODECS = [
    ("share", "out.mp4", "yuv420p", (96, 64)),
    ("share", "out.mp4", "yuv420p", (97, 63)),
    ("small", "out.mp4", "yuv420p", (96, 64)),
    ("small", "out.mp4", "yuv422p10le", (96, 64)),
    ("edit", "out.mov", "yuv422p10le", (96, 64)),
    ("archive", "out.mkv", "yuv444p12le", (96, 64)),
]


@pytest.mark.parametrize(("profile", "name", "pix_fmt", "size"), CODECS)
def test_every_encoder_can_be_cut(make_film, times_of, profile, name, pix_fmt, size):
    """Also after one frame: encoders that look ahead are flushed at once."""
    source = make_film("in.mkv", codec="ffv1", pix_fmt=pix_fmt, size=size, frames=20, options={})
    film = open_video(source)
    folder = source.with_name("segments")
    folder.mkdir()
    sink = cut_up(film, source.with_name(name), folder, profile, {1, 2, 9})
    assert [segment.frames for segment in sink.segments] == [1, 1, 7, 11]
    assert times_of(source.with_name(name)) == times_of(source)


def test_segments_after_a_gap_are_not_there(make_film):
    film = open_video(make_film(frames=20))
    folder = film.info.path.with_name("segments")
    folder.mkdir()
    cut_up(film, film.info.path.with_name("b.mkv"), folder, "archive", {5, 10, 15})
    assert len(read_segments(folder)) == 4
    data = folder / "000002.packets"
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    assert len(read_segments(folder)) == 2
