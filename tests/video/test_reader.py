"""Films are described and decoded as they are; what cannot be read is refused in one sentence."""

from __future__ import annotations

import sys
from fractions import Fraction
from subprocess import run

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facerestore.errors import BadInputError
from facerestore.video.geometry import display_geometry
from facerestore.video.reader import open_video

TICK = Fraction(1, 90000)


def test_a_film_is_described(make_film):
    path = make_film(
        "film.mkv", frames=20, rate=Fraction(30000, 1001), time_base=Fraction(1, 1000),
        pts=[round(i * 33.3667) for i in range(20)], sound="aac",
        sound_tags={"language": "fra", "title": "Ton"}, chapters=[(0, 300, "A"), (300, 600, "B")],
        color=(1, 1, 1, 1),
    )  # fmt: skip
    info = open_video(path).info
    assert (info.codec, info.width, info.height, info.pix_fmt) == ("h264", 96, 64, "yuv420p")
    assert (info.bit_depth, info.time_base, info.chapters) == (8, Fraction(1, 1000), 2)
    assert float(info.rate) == pytest.approx(30000 / 1001)
    assert info.duration_seconds == pytest.approx(0.7, abs=0.2)
    assert (info.color_space, info.color_range, info.color_trc, info.hdr) == (1, 1, 1, False)
    assert [(s.kind, s.codec, s.language, s.title) for s in info.other] == [
        ("audio", "aac", "fra", "Ton")
    ]


@pytest.mark.parametrize(
    ("pix_fmt", "depth"), [("yuv422p10le", 10), ("gray", 8), ("yuv444p12le", 12), ("bgra", 8)]
)
def test_sample_formats(make_film, pix_fmt, depth):
    info = open_video(make_film("a.mkv", codec="ffv1", pix_fmt=pix_fmt, frames=2)).info
    assert (info.pix_fmt, info.bit_depth) == (pix_fmt, depth)


@pytest.mark.parametrize("trc", [16, 18])
def test_hdr_is_noticed(make_film, trc):
    path = make_film("a.mkv", pix_fmt="yuv420p10le", frames=3, color=(9, trc, 9, 1))
    assert open_video(path).info.hdr


def test_interlaced_is_noticed(make_film):
    path = make_film("a.mkv", codec="ffv1", interlaced="tff", frames=3)
    assert open_video(path).info.interlaced
    assert not open_video(make_film("b.mkv", codec="ffv1", frames=3)).info.interlaced


@pytest.mark.parametrize(
    ("turn", "size", "top_left"),
    [(0, (96, 64), (0, 0)), (90, (64, 96), (0, 64)), (180, (96, 64), (96, 64)),
     (270, (64, 96), (96, 0))],
)  # fmt: skip
def test_turned_films_are_described_upright(make_film, turn, size, top_left):
    info = open_video(make_film(turn=turn, frames=3)).info
    assert (info.display_width, info.display_height, info.rotation_degrees) == (*size, turn)
    assert np.allclose(info.to_coded @ [0, 0, 1], top_left)


def test_a_mirrored_film(make_film):
    info = open_video(make_film(matrix=(-65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30))).info
    assert info.mirrored
    assert np.allclose(info.to_coded @ [0, 10, 1], (96, 10))


def test_sample_aspect_ratio_stretches_the_width(make_film):
    info = open_video(make_film(sar=Fraction(4, 3), frames=3)).info
    assert (info.sar, info.display_width, info.display_height) == (Fraction(4, 3), 128, 64)
    assert np.allclose(info.to_coded @ [128, 64, 1], (96, 64))


@given(
    width=st.integers(2, 500),
    height=st.integers(2, 500),
    sar=st.fractions(Fraction(1, 3), 3, max_denominator=40),
    turn=st.integers(0, 3),
    mirrored=st.booleans(),
)
def test_display_corners_are_coded_corners(width, height, sar, turn, mirrored):
    turned = np.linalg.matrix_power(np.array([[0, -1], [1, 0]]), turn)
    linear = turned @ np.diag([-1 if mirrored else 1, 1])
    shown = width * float(sar)
    across, down, to_coded = display_geometry(width, height, sar, linear)
    exact = (shown, height) if turn % 2 == 0 else (height, shown)
    assert (across, down) == tuple(round(v) for v in exact)
    corners = np.array([[x, y, 1] for x in (0, exact[0]) for y in (0, exact[1])])
    coded = {tuple(np.round(to_coded @ corner, 6) + 0.0) for corner in corners}
    assert coded == {(x, y) for x in (0.0, float(width)) for y in (0.0, float(height))}


def test_frames_are_the_same_each_time_and_for_readers_side_by_side(make_film, planes_of):
    path = make_film(options={"bf": "3", "g": "12"}, frames=30)
    film = open_video(path)
    want = planes_of(path)
    for pair in zip(film.frames(), film.frames(), want, strict=True):
        first, second = (np.frombuffer(f.planes[0], np.uint8) for f in pair[:2])
        assert np.array_equal(first, second)
        luma = first.reshape(-1, pair[0].planes[0].line_size)[:, :96]
        assert np.array_equal(luma, pair[2][0])
    assert film.damaged == 0


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.avi", "a.mov"])
@pytest.mark.parametrize("start", [0.04, 0.36, 0.76, 1.0, 1.16, 1.58])
def test_a_part_holds_exactly_the_frames_of_the_whole(make_film, name, start):
    path = make_film(name, frames=40, options={"g": "10", "bf": "0" if "avi" in name else "3"})
    film = open_video(path)
    part = list(film.frames(start, start + 0.4))
    seconds = [film.seconds(f) for f in film.frames()]
    expected = [s for s in seconds if start - 1e-6 <= s < start + 0.4 - 1e-6]
    assert [film.seconds(f) for f in part] == pytest.approx(expected)
    whole = {f.pts: np.frombuffer(f.planes[0], np.uint8).copy() for f in film.frames()}
    for frame in part:
        assert np.array_equal(np.frombuffer(frame.planes[0], np.uint8), whole[frame.pts])


def test_edit_lists_hide_frames_and_do_not_confuse_the_count(make_film):
    pts = [30 + i for i in range(20)]
    film = open_video(make_film("late.mp4", pts=pts, frames=20))
    frames = list(film.frames())
    assert len(frames) == 20
    assert film.seconds(frames[0]) == 0
    assert film.seconds(frames[-1]) == pytest.approx(19 / 25)


def test_variable_frame_rate_keeps_every_time(make_film, times_of):
    pts = [0, 3000, 9000, 10501, 24000, 24090]
    path = make_film(pts=pts, frames=6, time_base=TICK)
    film = open_video(path)
    assert [f.pts * film.info.time_base for f in film.frames()] == [p * TICK for p in pts]


def test_sound_before_the_picture_stream(make_film):
    film = open_video(make_film("a.mkv", sound="aac", sound_first=True))
    assert len(list(film.frames())) == 12


def test_logging_of_ffmpeg_is_left_alone(make_film):
    """Threaded decoders can deadlock at exit once a Python log callback is installed."""
    code = (
        "import av, sys; from pathlib import Path\n"
        "from facerestore.video import reader, shots, simple, writer\n"
        "shots.ShotFinder()\n"
        "film = reader.open_video(Path(sys.argv[1])); next(film.frames())\n"
        "assert av.logging.get_level() is None\n"
        "sys.exit(7)"
    )
    done = run([sys.executable, "-c", code, str(make_film())], timeout=60)
    assert done.returncode == 7


# Bad input.


def refused(path, match, **options):
    with pytest.raises(BadInputError, match=match) as caught:
        list(open_video(path, **options).frames())
    sentence = str(caught.value)
    assert str(path) in sentence
    assert ";" in sentence or sentence.endswith("?")
    assert "\n" not in sentence
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("content", "match"),
    [(b"", "is empty"), (b"just words\n" * 50, "not a readable video"),
     (bytes(np.random.default_rng(0).integers(0, 256, 4000, np.uint8)), "not a readable video")],
)  # fmt: skip
def test_files_that_are_no_films(tmp_path, content, match):
    (tmp_path / "a.mp4").write_bytes(content)
    refused(tmp_path / "a.mp4", match)


def test_missing_moov(make_film):
    path = make_film(frames=20)
    path.write_bytes(path.read_bytes()[: path.read_bytes().rindex(b"moov") - 4])
    refused(path, "not a readable video")


def test_missing_file_and_folder(tmp_path):
    refused(tmp_path / "none.mp4", "no such file")
    refused(tmp_path, "is a folder")


def test_audio_only_with_and_without_cover(tmp_path, png):
    for name, cover in (("a.mp4", None), ("b.mp4", png)):
        with av.open(str(tmp_path / name), "w", format="mp4") as out:
            stream = out.add_stream("aac", rate=48000)
            if cover:
                art = out.add_mux_stream("png", width=8, height=8)
                art.disposition = av.stream.Disposition.attached_pic
                packet = av.Packet(cover)
                packet.stream, packet.pts, packet.dts = art, 0, 0
            frame = av.AudioFrame.from_ndarray(np.zeros((2, 4096), np.float32), format="fltp")
            frame.sample_rate = 48000
            packets = stream.encode(frame) + stream.encode(None)
            for p in ([packet] if cover else []) + packets:
                out.mux(p)
        refused(tmp_path / name, "no video stream; is it an audio file")


def test_unknown_codec(make_film):
    path = make_film()
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz").replace(b"avcC", b"zzzC"))
    refused(path, "codec not supported")


def test_too_large_pictures_are_refused_before_decoding(make_film):
    refused(make_film(), "too large", max_pixels=1000)


def test_still_pictures(tmp_path, png):
    (tmp_path / "a.png").write_bytes(png)
    refused(tmp_path / "a.png", "still picture")


def test_the_suffix_does_not_matter(make_film):
    path = make_film("a.mkv")
    wrong = path.rename(path.with_suffix(".mp4"))
    film = open_video(wrong)
    assert "matroska" in film.info.container
    assert len(list(film.frames())) == 12


@pytest.mark.parametrize("name", ["a.mkv", "a.ts"])
def test_truncated_films_give_what_is_there(make_film, name):
    path = make_film(name, frames=50, options={"g": "5"})
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    film = open_video(path)
    assert 15 < len(list(film.frames())) < 45
    if name == "a.mkv":  # a transport stream says nowhere how long it should be
        assert any("ends at" in text for text in film.troubles())


def test_damaged_packets_are_skipped_and_counted(make_film):
    path = make_film("a.mp4", codec="mjpeg", pix_fmt="yuvj420p", frames=20, options={})
    with av.open(str(path)) as container:
        places = [p.pos for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    data[places[7] : places[7] + 600] = bytes(600)
    path.write_bytes(data)
    film = open_video(path)
    assert len(list(film.frames())) == 19
    assert film.damaged == 1
    assert any("1 " in text and "damaged" in text for text in film.troubles())
    part = open_video(path)
    assert len(list(part.frames(None, 0.5))) < 19
    assert part.damaged == 1


def test_transport_stream_without_leading_key_frame(make_film):
    path = make_film("a.ts", frames=50, options={"g": "20", "bf": "0", "x264-params": "scenecut=0"})
    data = path.read_bytes()
    cut = len(data) // 188 // 4 * 188
    path.write_bytes(data[cut:])
    film = open_video(path)
    assert 20 <= len(list(film.frames())) < 45


@pytest.mark.parametrize("frames", [1, 2])
@pytest.mark.parametrize("sound", [None, "aac"])
def test_very_short_films(make_film, frames, sound):
    assert len(list(open_video(make_film(frames=frames, sound=sound)).frames())) == frames


def test_change_of_size_in_mid_stream(make_film, tmp_path):
    one = make_film("one.ts", size=(96, 64), frames=10)
    two = make_film("two.ts", size=(128, 96), frames=10)
    (tmp_path / "both.ts").write_bytes(one.read_bytes() + two.read_bytes())
    film = open_video(tmp_path / "both.ts")
    with pytest.raises(BadInputError, match=r"changes from 96x64 .* to 128x96 .*; cut it there"):
        list(film.frames())


def test_the_real_vfr_film(shared_clips):
    film = open_video(shared_clips / "talk_vfr_audio.mp4")
    times = [f.pts for f in film.frames()]
    assert len(times) == 135
    assert set(np.diff(times)) <= {512, 1024}
    assert film.info.time_base == Fraction(1, 15360)
