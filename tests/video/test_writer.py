"""Films are written like their source: samples, times, sound and everything else."""

from __future__ import annotations

import os
import struct
import sys
from fractions import Fraction
from pathlib import Path
from subprocess import run

import av
import numpy as np
import pytest
from av.sidedata.sidedata import Type as SideData
from av.stream import Disposition

from facerestore.errors import BadInputError, ResourceError, UsageError
from facerestore.video.encoder import as_format
from facerestore.video.output import write_header
from facerestore.video.reader import open_video
from facerestore.video.writer import copy_film, create_like

TICK = Fraction(1, 90000)


def rewrite(path, name, *, profile="share", edit=None, **options):
    """The film decoded and written again; returns its path and the sink."""
    film = open_video(path)
    out = path.with_name(name)
    bounds = {k: options[k] for k in ("start_seconds", "end_seconds") if k in options}
    with create_like(film, out, profile=profile, note="facerestore test", **options) as sink:
        for frame in film.frames(**bounds):
            if edit:
                frame.make_writable()
                edit(frame)
            sink.write(frame)
    return out, sink


def equal(one, two):
    return len(one) == len(two) and all(
        np.array_equal(a, b)
        for p, q in zip(one, two, strict=True)
        for a, b in zip(p, q, strict=True)
    )


def paint(frame):
    """Change a rectangle of the first plane, rows 8..24, bytes 16..32."""
    plane = frame.planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
    rows[8:24, 16:32] ^= 1


# Samples.


@pytest.mark.parametrize(
    ("pix_fmt", "size"),
    [("yuv420p", (96, 64)), ("yuv420p10le", (96, 64)), ("yuv422p", (96, 64)),
     ("yuv422p10le", (96, 64)), ("yuv444p", (96, 64)), ("yuv444p10le", (96, 64)),
     ("yuv444p12le", (96, 64)), ("yuv411p", (96, 64)), ("gray", (96, 64)), ("gray10le", (96, 64)),
     ("yuva420p", (96, 64)), ("bgra", (96, 64)), ("yuv420p", (97, 63))],
)  # fmt: skip
def test_archive_keeps_every_sample_outside_an_edit(make_film, planes_of, pix_fmt, size):
    path = make_film("a.mkv", codec="ffv1", pix_fmt=pix_fmt, size=size, frames=4, options={})
    out, sink = rewrite(path, "b.mkv", profile="archive", edit=paint)
    assert (sink.encoding.codec, sink.encoding.pix_fmt, sink.warnings) == ("ffv1", pix_fmt, [])
    before, after = planes_of(path), planes_of(out)
    for planes in before:
        planes[0][8:24, 16:32] ^= 1
    assert equal(before, after)


@pytest.mark.parametrize("profile", ["archive", "lossless"])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le", "yuv422p", "yuv444p"])
def test_decoder_references_survive_edits(make_film, planes_of, profile, pix_fmt):
    """The source has P and B frames, whose references the decoder still holds."""
    path = make_film("a.mkv", pix_fmt=pix_fmt, frames=20, options={"bf": "3", "g": "10"})
    out, _ = rewrite(path, "b.mkv", profile=profile, edit=paint)
    before, after = planes_of(path), planes_of(out)
    for planes in before:
        planes[0][8:24, 16:32] ^= 1
    assert equal(before, after)


@pytest.mark.parametrize("pix_fmt", ["gray", "yuv444p12le", "yuv411p"])
def test_lossless_loses_nothing_where_x264_takes_it_and_falls_back_where_not(
    make_film, planes_of, pix_fmt
):
    path = make_film("a.mkv", codec="ffv1", pix_fmt=pix_fmt, frames=3, options={})
    out, sink = rewrite(path, "b.mkv", profile="lossless")
    before, after = planes_of(path), planes_of(out)
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(before, after, strict=True))
    if sink.encoding.codec == "ffv1":
        assert any(pix_fmt in text and "ffv1" in text for text in sink.warnings)
        assert equal(before, after)


def random_frame(index, width, height, pix_fmt):
    rng = np.random.default_rng(index)
    if pix_fmt == "pal8":
        frame = av.VideoFrame(width, height, "pal8")
        for plane in frame.planes:
            plane.update(rng.bytes(plane.buffer_size))
        return frame
    rgba = rng.integers(0, 256, (height, width, 4)).astype(np.uint8)
    return av.VideoFrame.from_ndarray(rgba, format="rgba").reformat(format=pix_fmt)


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "stored"),
    [("a.mov", "png", "rgb24", "bgr0"), ("a.mov", "png", "rgba", "bgra"),
     ("a.mov", "png", "pal8", "bgra"), ("a.mkv", "libx264rgb", "bgr24", "bgr0"),
     ("a.gif", "gif", "rgb8", "bgra"), ("a.mkv", "mjpeg", "yuvj420p", "yuv420p")],
)  # fmt: skip
def test_formats_ffv1_lacks_are_mapped_without_loss(
    make_film, planes_of, name, codec, pix_fmt, stored
):
    path = make_film(
        name, codec=codec, pix_fmt=pix_fmt, frames=3, make_frame=random_frame, options={},
        size=(64, 48),
    )  # fmt: skip
    out, sink = rewrite(path, "b.mkv", profile="archive")
    assert sink.encoding.pix_fmt == stored
    if stored == "yuv420p":
        assert open_video(out).info.color_range == 2
        assert equal(planes_of(path), planes_of(out))
        return
    with av.open(str(path)) as a, av.open(str(out)) as b:
        for one, two in zip(a.decode(video=0), b.decode(video=0), strict=True):
            pair = [f.to_ndarray(format="rgba") for f in (one, two)]
            depth = 4 if stored == "bgra" else 3
            assert np.array_equal(pair[0][..., :depth], pair[1][..., :depth])


def test_full_range_copies_keep_size_and_samples_for_odd_sizes():
    frame = av.VideoFrame(33, 17, "yuvj420p")
    for plane in frame.planes:
        plane.update(np.random.default_rng(0).bytes(plane.buffer_size))
    frame.pts, frame.time_base = 5, TICK
    new = as_format(frame, "yuv420p")
    assert (new.pts, int(new.color_range)) == (5, 2)
    for p, q in zip(frame.planes, new.planes, strict=True):
        rows = [np.frombuffer(x, np.uint8).reshape(x.height, -1)[:, : x.width] for x in (p, q)]
        assert np.array_equal(*rows)


def test_fields_do_not_bleed_into_each_other(mark_fields):
    frame = av.VideoFrame(64, 48, "yuv420p")
    for index, plane in enumerate(frame.planes):
        codes = np.full((plane.height, plane.line_size), 128, np.uint8)
        if index:
            codes[0::2], codes[1::2] = 90, 190  # the upper and the lower field's colours
        plane.update(codes.tobytes())
    frame.pts, frame.time_base = 5, TICK
    new = as_format(next(mark_fields([frame], True)), "yuv422p10le")
    chroma = new.to_ndarray(channel_last=False)[1]
    assert (new.pts, new.time_base, new.format.name) == (5, TICK, "yuv422p10le")
    assert np.abs(chroma[0::2].astype(int) - 360).max() <= 4
    assert np.abs(chroma[1::2].astype(int) - 760).max() <= 4


# Times.


@pytest.mark.parametrize(("source", "target"), [("a.mp4", "b.mp4"), ("a.mov", "b.mov")])
@pytest.mark.parametrize("profile", ["share", "small"])
def test_times_are_exact_in_mp4_and_mov(make_film, times_of, source, target, profile):
    pts = [0, 3003, 9000, 10501, 24000, 24090, 60000]
    path = make_film(source, pts=pts, frames=7, time_base=TICK)
    out, _ = rewrite(path, target, profile=profile)
    assert times_of(out) == times_of(path) == [p * TICK for p in pts]


def test_the_last_frame_keeps_its_own_duration(make_film):
    """With variable rates the encoder would guess it from the nominal rate."""
    path = make_film(pts=[0, 3600, 7200, 18000], frames=4, time_base=TICK)
    film = open_video(path)
    out = path.with_name("b.mkv")
    with create_like(film, out, profile="archive", note="n") as sink:
        for frame, duration in zip(film.frames(), (3600, 3600, 10800, 9000), strict=True):
            frame.duration = duration
            sink.write(frame)
    with av.open(str(out)) as container:
        assert container.streams.video[0].metadata["DURATION"].startswith("00:00:00.300")


@pytest.mark.parametrize("first", [0, 5000, 90000])
def test_a_late_start_stays_late(make_film, times_of, first):
    pts = [first + 3600 * i for i in range(8)]
    path = make_film(pts=pts, frames=8, time_base=TICK, sound="aac")
    assert times_of(rewrite(path, "b.mp4")[0]) == times_of(path)
    rounded = times_of(rewrite(path, "b.mkv")[0])
    assert [float(t) for t in rounded] == pytest.approx([p / 90000 for p in pts], abs=0.0011)


@pytest.mark.parametrize("rate", [Fraction(24000, 1001), Fraction(30000, 1001), Fraction(50)])
def test_matroska_times_are_rounded_to_its_millisecond(make_film, times_of, rate):
    path = make_film(rate=rate, frames=20, options={"bf": "3"})
    out, _ = rewrite(path, "b.mkv")
    errors = [abs(a - b) for a, b in zip(times_of(path), times_of(out), strict=True)]
    assert max(errors) <= Fraction(1, 2000)


def test_double_times_are_moved_on_and_told(make_film, times_of):
    path = make_film("a.mkv", codec="ffv1", frames=5, time_base=Fraction(1, 1000), options={})
    film = open_video(path)
    out = path.with_name("b.mp4")
    with create_like(film, out, note="n") as sink:
        for index, frame in enumerate(film.frames()):
            frame.pts = [0, 40, 40, 80, 120][index]
            sink.write(frame)
    assert times_of(out) == [Fraction(n, 1000) for n in (0, 40, 41, 80, 120)]
    assert any("1 frames" in text for text in sink.warnings)


def test_frame_types_are_the_encoders_choice(make_film):
    path = make_film(frames=20, options={"g": "1"})
    out, _ = rewrite(path, "b.mp4")
    with av.open(str(out)) as container:
        assert sum(p.is_keyframe for p in container.demux(video=0) if p.size) < 5


# Sound.


def offsets(packets_of, times_of, path):
    """Sound packets as (seconds after the first frame, bytes)."""
    first = times_of(path)[0]
    return [(float(t - first), data) for t, data in packets_of(path, "audio")]


@pytest.mark.parametrize(
    ("source", "target", "sound"),
    [("a.mp4", "b.mp4", "aac"), ("a.mp4", "b.mkv", "aac"), ("a.mp4", "b.mov", "aac"),
     ("a.mkv", "b.mkv", "flac"), ("a.mkv", "b.mp4", "flac"), ("a.mkv", "b.mkv", "libopus"),
     ("a.mov", "b.mov", "pcm_s16le"), ("a.ts", "b.mkv", "ac3"), ("a.ts", "b.mp4", "ac3"),
     ("a.avi", "b.mkv", "mp3")],
)  # fmt: skip
def test_sound_is_copied_byte_for_byte_and_in_time(
    make_film, packets_of, times_of, source, target, sound
):
    options = {"bf": "0"} if source == "a.avi" else {"bf": "2"}
    codec = "libmp3lame" if sound == "mp3" else sound
    path = make_film(source, frames=40, sound=codec, options=options)
    out, sink = rewrite(path, target)
    before, after = (offsets(packets_of, times_of, p) for p in (path, out))
    assert sink.warnings == []
    assert [data for _, data in after] == [data for _, data in before]
    assert [t for t, _ in after] == pytest.approx([t for t, _ in before], abs=0.0011)
    if target == source.replace("a", "b"):
        exact = 0 if source != "a.mkv" else 0.0005
        assert [t for t, _ in after] == pytest.approx([t for t, _ in before], abs=exact + 1e-9)


def test_priming_of_mp4_sound_does_not_move_the_picture_in_matroska(
    make_film, packets_of, times_of
):
    path = make_film(frames=20, sound="aac")
    out, _ = rewrite(path, "b.mkv")
    assert times_of(out)[0] == 0
    assert float(packets_of(out, "audio")[0][0]) == pytest.approx(-1024 / 48000, abs=0.0006)


def test_sound_as_the_first_stream(make_film, packets_of):
    """Packets that flush a decoder carry stream index 0, whatever stream they belong to."""
    path = make_film("a.mkv", frames=20, sound="aac", sound_first=True)
    out, _ = rewrite(path, "b.mkv")
    assert [d for _, d in packets_of(out, "audio")] == [d for _, d in packets_of(path, "audio")]


def test_sound_that_runs_on_after_the_picture_is_copied_to_its_end(make_film, packets_of):
    path = make_film(frames=3, sound="aac")
    out, _ = rewrite(path, "b.mp4")
    assert len(packets_of(out, "audio")) == len(packets_of(path, "audio"))


def test_packets_that_run_backwards_are_dropped_and_told(make_film, tmp_path):
    one = make_film("one.ts", frames=25, sound="ac3")
    (tmp_path / "both.ts").write_bytes(one.read_bytes() * 2)
    film = open_video(tmp_path / "both.ts")
    out = tmp_path / "out.mp4"
    with create_like(film, out, note="n") as sink:
        for frame in film.frames():
            sink.write(frame)
    assert any("out of order" in text for text in sink.warnings)
    assert len(list(open_video(out).frames())) == 50


@pytest.mark.parametrize("name", ["b.mp4", "b.mkv"])
def test_sound_lies_beside_its_picture_in_the_file(make_film, name):
    """Otherwise players have to jump, and the writer would have to hold the film in memory."""
    path = make_film(rate=Fraction(1), frames=60, sound="aac")
    out, _ = rewrite(path, name, profile="lossless")
    with av.open(str(out)) as container:
        packets = [p for p in container.demux() if p.size and p.pos is not None]
    packets.sort(key=lambda p: p.pos)
    times = [float((p.pts if p.dts is None else p.dts) * p.time_base) for p in packets]
    highest = np.maximum.accumulate(times)
    assert (highest - times).max() < 4


# Everything else.


def test_chapters_tags_languages_and_dispositions(make_film):
    path = make_film(
        "a.mkv", frames=30, sound="aac", chapters=[(0, 500, "A"), (500, 1200, "B")],
        tags={"title": "Film", "ARTIST": "Wer", "ENCODER": "other", "MOOD": "calm"},
        video_tags={"title": "Bild"}, sound_tags={"language": "fra", "title": "Ton"},
    )  # fmt: skip
    out, _ = rewrite(path, "b.mkv")
    with av.open(str(path)) as a, av.open(str(out)) as b:
        tags = {k.lower(): v for k, v in b.metadata.items()}
        assert (tags["title"], tags["artist"], tags["mood"]) == ("Film", "Wer", "calm")
        assert tags["facerestore"] == "facerestore test"
        assert tags["encoder"] != "other"
        assert b.streams.video[0].metadata["title"] == "Bild"
        assert b.streams.audio[0].metadata["language"] == "fra"
        assert b.streams.audio[0].metadata["title"] == "Ton"
        assert b.streams.audio[0].disposition == a.streams.audio[0].disposition
        assert [(c["start"], c["end"], c["metadata"]["title"]) for c in b.chapters()] == [
            (c["start"], c["end"], c["metadata"]["title"]) for c in a.chapters()
        ]


def test_mp4_keeps_custom_tags_and_chapters_once(make_film):
    path = make_film(
        frames=30, chapters=[(0, 500, "A"), (500, 1200, "B")], tags={"title": "T", "mood": "calm"},
        container_options={"movflags": "use_metadata_tags"},
    )  # fmt: skip
    out, sink = rewrite(path, "b.mp4")
    with av.open(str(out)) as container:
        assert container.metadata["title"] == "T"
        assert container.metadata["mood"] == "calm"
        assert "facerestore test" in container.metadata.values()
        assert [c["metadata"]["title"] for c in container.chapters()] == ["A", "B"]
        assert len([s for s in container.streams if s.type == "data"]) <= 1
    assert sink.warnings == []


def test_a_taken_comment_is_not_replaced(make_film):
    path = make_film(tags={"comment": "mine"})
    out, _ = rewrite(path, "b.mp4")
    with av.open(str(out)) as container:
        assert container.metadata["comment"] == "mine"
        assert "facerestore test" in container.metadata.values()


@pytest.mark.parametrize(
    ("source", "target"), [("a.mkv", "b.mkv"), ("a.mp4", "b.mp4"), ("a.mp4", "b.mkv")]
)
def test_subtitles_are_kept(make_film, packets_of, source, target):
    texts = [(100, 300, "Eins"), (500, 200, "zwei\ndrei")]
    path = make_film(source, frames=30, subtitles=texts)
    out, sink = rewrite(path, target)
    found = [(t, d) for t, d in packets_of(out, "subtitle") if d.strip() and d != b"\0\0"]
    plain = [(t, d[2:] if target == "b.mp4" else d) for t, d in found]
    assert [(float(t), d.decode()) for t, d in plain] == [
        (pytest.approx(start / 1000, abs=0.001), text) for start, _, text in texts
    ]
    with av.open(str(out)) as container:
        assert container.streams.subtitles[0].metadata["language"] == "deu"
    assert sink.warnings == []


def test_what_the_container_cannot_hold_is_told(make_film):
    path = make_film("a.mkv", frames=10, subtitles=[(0, 100, "x")],
                     attachments=[("font.ttf", "font/ttf", b"1234")])  # fmt: skip
    out, sink = rewrite(path, "b.mp4")
    assert any("subtitle" in text and "dropped" in text for text in sink.warnings)
    assert any("font.ttf" in text for text in sink.warnings)
    assert len(list(open_video(out).frames())) == 10


def test_attachments_are_kept(make_film):
    path = make_film("a.mkv", attachments=[("font.ttf", "font/ttf", b"1234")])
    out, _ = rewrite(path, "b.mkv")
    with av.open(str(out)) as container:
        (stream,) = [s for s in container.streams if s.type == "attachment"]
        assert (stream.metadata["filename"], bytes(stream.data)) == ("font.ttf", b"1234")


@pytest.mark.parametrize("copy", [False, True])
def test_cover_art_is_kept(make_film, png, copy):
    path = make_film(cover=png, frames=10)
    for name in ("b.mp4", "b.mkv"):
        if copy:
            copy_film(open_video(path), path.with_name(name), note="n")
        else:
            rewrite(path, name)
        with av.open(str(path.with_name(name))) as container:
            assert len([s for s in container.streams.video if not s.disposition]) <= 1
            if name == "b.mp4":
                (art,) = [
                    s for s in container.streams.video if s.disposition & Disposition.attached_pic
                ]
                assert [bytes(p) for p in container.demux(art) if p.size] == [png]
            else:
                assert any(
                    s.type == "attachment" or s.disposition & Disposition.attached_pic
                    for s in container.streams
                )
        path.with_name(name).unlink()


def test_timecode_is_written_again(make_film):
    path = make_film("a.mov", video_tags={"timecode": "01:00:00:00"})
    out, sink = rewrite(path, "b.mov")
    with av.open(str(out)) as container:
        assert container.streams.video[0].metadata["timecode"] == "01:00:00:00"
    assert sink.warnings == []


@pytest.mark.parametrize("turn", [90, 180, 270])
@pytest.mark.parametrize("name", ["b.mp4", "b.mov", "b.mkv"])
@pytest.mark.parametrize("copy", [False, True])
def test_rotation_is_kept(make_film, turn, name, copy):
    path = make_film(turn=turn, frames=3)
    film = open_video(path)
    if copy:
        copy_film(film, path.with_name(name), note="n")
    else:
        rewrite(path, name)
    again = open_video(path.with_name(name)).info
    assert (again.rotation_degrees, again.mirrored) == (turn, False)
    assert np.allclose(again.to_coded, film.info.to_coded)


@pytest.mark.parametrize(
    ("profile", "name"),
    [("share", "b.mp4"), ("share", "b.mkv"), ("archive", "b.mkv"), ("edit", "b.mov"),
     ("small", "b.mp4"), ("small", "b.mkv")],
)  # fmt: skip
def test_sample_aspect_ratio_is_kept(make_film, profile, name):
    path = make_film(sar=Fraction(16, 15), frames=3, size=(96, 64))
    out, sink = rewrite(path, name, profile=profile)
    with av.open(str(out)) as container:
        assert float(container.streams.video[0].sample_aspect_ratio) == pytest.approx(
            16 / 15, rel=0.01
        )
        assert SideData.DISPLAYMATRIX not in next(container.decode(video=0)).side_data
    assert sink.warnings == []


def test_sample_aspect_ratio_and_rotation_together_are_told(make_film):
    path = make_film(sar=Fraction(4, 3), turn=90, frames=3)
    out, sink = rewrite(path, "b.mkv", profile="archive")
    assert any("aspect" in text for text in sink.warnings)
    assert open_video(out).info.rotation_degrees == 90


@pytest.mark.parametrize(
    ("profile", "name"),
    [("share", "b.mp4"), ("small", "b.mp4"), ("archive", "b.mkv"), ("edit", "b.mov")],
)
def test_colour_tags_are_kept(make_film, profile, name):
    path = make_film(color=(9, 16, 9, 1), pix_fmt="yuv420p10le", frames=3)
    out, _ = rewrite(path, name, profile=profile)
    info = open_video(out).info
    assert (info.color_space, info.color_trc, info.color_range) == (9, 16, 1)
    assert info.bit_depth == 10


@pytest.mark.parametrize("profile", ["share", "small", "archive", "edit"])
@pytest.mark.parametrize("parity", ["tff", "bff"])
def test_interlaced_stays_interlaced(make_film, profile, parity):
    path = make_film("a.mkv", codec="ffv1", interlaced=parity, frames=3, size=(128, 96), options={})
    out, _ = rewrite(path, "b.mov" if profile == "edit" else "b.mkv", profile=profile)
    with av.open(str(out)) as container:
        assert all(f.interlaced_frame for f in container.decode(video=0))


HDR = {
    "x265-params": "log-level=error:hdr10=1:repeat-headers=1:max-cll=1000,400:"
    "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
}


@pytest.mark.parametrize("profile", ["share", "small", "archive"])
def test_hdr10_metadata(make_film, profile):
    path = make_film(
        "a.mkv", codec="libx265", pix_fmt="yuv420p10le", options=HDR, color=(9, 16, 9, 1),
        frames=3, size=(128, 96),
    )  # fmt: skip
    before = open_video(path).info
    out, sink = rewrite(path, "b.mkv", profile=profile)
    after = open_video(out).info
    if profile == "archive":
        assert any("HDR10" in text for text in sink.warnings)
        return
    pairs = [struct.unpack("22i", i.mastering[:88]) for i in (before, after)]
    values = [[a / b for a, b in zip(p[0:20:2], p[1:20:2], strict=True)] for p in pairs]
    assert values[1] == pytest.approx(values[0], rel=2e-3, abs=1e-4)
    assert struct.unpack("2I", after.light[:8]) == (1000, 400)


# Parts.


@pytest.mark.parametrize("source", ["a.mp4", "a.mkv", "a.ts"])
@pytest.mark.parametrize(("start", "end"), [(0.5, 1.3), (0.52, None), (None, 0.9)])
def test_parts_keep_sound_and_picture_together(make_film, packets_of, times_of, source, start, end):
    path = make_film(source, frames=50, sound="ac3", options={"bf": "2"})
    out, _ = rewrite(path, "b.mkv", start_seconds=start, end_seconds=end)
    whole = times_of(path)
    low, high = (start or 0) + whole[0], (end or 99) + whole[0]
    kept = [t for t in whole if low - 1e-6 <= t < high - 1e-6]
    zero = kept[0] if start else 0
    times = times_of(out)
    assert [float(t) for t in times] == pytest.approx([float(t - zero) for t in kept], abs=6e-4)
    before = {data: t for t, data in packets_of(path, "audio")}
    after = packets_of(out, "audio")
    assert after
    shifts = [float(before[data] - t) for t, data in after]
    assert shifts == pytest.approx([float(zero)] * len(after), abs=1.1e-3)
    length = (float(kept[-1]) - float(low)) + 0.1
    assert length * 0.7 < len(after) * 1536 / 48000 < length * 1.3


def test_parts_keep_their_chapters(make_film):
    path = make_film(
        "a.mkv", frames=50, chapters=[(0, 400, "A"), (400, 1000, "B"), (1000, 2000, "C")]
    )
    out, _ = rewrite(path, "b.mkv", start_seconds=0.6, end_seconds=1.2)
    with av.open(str(out)) as container:
        found = [
            (c["start"] * c["time_base"], c["end"] * c["time_base"], c["metadata"]["title"])
            for c in container.chapters()
        ]
    assert [(float(a), float(b), t) for a, b, t in found] == [(0, 0.4, "B"), (0.4, 0.6, "C")]


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_a_subtitle_that_is_showing_begins_with_the_part(make_film, suffix):
    texts = [(0, 300, "over"), (400, 600, "showing"), (1200, 200, "later")]
    path = make_film(f"a.{suffix}", frames=50, subtitles=texts)
    out, _ = rewrite(path, f"b.{suffix}", start_seconds=0.6)
    with av.open(str(out)) as container:
        found = [
            (float(p.pts * p.time_base), float(p.duration * p.time_base), bytes(p)[-4:])
            for p in container.demux(container.streams.subtitles[0])
            if p.size and bytes(p).strip(b"\0 ")
        ]
    assert [text for *_, text in found] == [b"wing", b"ater"]
    assert [x for start, length, _ in found for x in (start, length)] == pytest.approx(
        [0.0, 0.4, 0.6, 0.2], abs=0.002
    )


def test_an_empty_part_is_an_error_and_leaves_nothing(make_film):
    path = make_film(frames=10)
    with pytest.raises(BadInputError, match="no frame"):
        rewrite(path, "b.mp4", start_seconds=50.0)
    assert os.listdir(path.parent) == [path.name]


# Profiles and containers.


@pytest.mark.parametrize(
    ("profile", "source", "target", "codec"),
    [("share", "a.mp4", "b.mov", "libx264"), ("small", "a.mp4", "b.mov", "libx265"),
     ("small", "a.mp4", "b.mp4", "libsvtav1"), ("edit", "a.mp4", "b.mkv", "prores_ks"),
     ("lossless", "a.mp4", "b.mp4", "libx264"), ("archive", "a.mp4", "b.mkv", "ffv1")],
)  # fmt: skip
def test_profiles(make_film, profile, source, target, codec):
    out, sink = rewrite(make_film(source, frames=4, size=(128, 64)), target, profile=profile)
    assert sink.encoding.codec == codec
    with av.open(str(out)) as container:
        name = {"libx264": "h264", "libx265": "hevc", "libsvtav1": "av1", "prores_ks": "prores"}
        decoder = container.streams.video[0].codec.canonical_name
        assert decoder == name.get(codec, codec)
        if codec == "libx265":  # the only tag that Apple's players take
            assert container.streams.video[0].codec_context.codec_tag == "hvc1"
    assert len(list(open_video(out).frames())) == 4


@pytest.mark.parametrize("profile", ["share", "small", "lossless", "archive"])
@pytest.mark.parametrize("size", [(97, 63), (130, 67)])
def test_odd_sizes_are_neither_cropped_nor_padded(make_film, profile, size):
    path = make_film("a.mkv", codec="ffv1", size=size, frames=3, options={})
    out, sink = rewrite(path, "b.mkv", profile=profile)
    info = open_video(out).info
    assert (info.width, info.height) == size
    if profile != "archive":
        assert any(sink.encoding.codec in text for text in sink.warnings)


def test_alpha_is_kept(make_film, planes_of):
    path = make_film("a.mkv", codec="ffv1", pix_fmt="yuva420p", frames=3, options={})
    out, sink = rewrite(path, "b.mkv")
    assert "ffv1" in sink.warnings[0]
    assert equal(planes_of(path), planes_of(out))


@pytest.mark.parametrize(
    ("profile", "name", "remedy"),
    [("archive", "b.mp4", r"\.mkv"), ("archive", "b.mov", r"\.mkv"), ("edit", "b.mp4", r"\.mov"),
     ("share", "b.xyz", r"\.mp4"), ("share", "b.webm", r"\.mp4")],
)  # fmt: skip
def test_impossible_pairs_are_refused_before_anything_is_written(make_film, profile, name, remedy):
    path = make_film(frames=3)
    with pytest.raises(UsageError, match=remedy):
        rewrite(path, name, profile=profile)
    assert os.listdir(path.parent) == [path.name]


def test_the_real_format_decides_not_the_suffix_of_the_source(make_film):
    from facerestore.video.profiles import choose_encoding

    path = make_film("a.mkv", frames=3)
    renamed = path.rename(path.with_suffix(".mp4"))
    quicktime, avi = make_film("c.mov"), make_film("d.avi", options={"bf": "0"})
    wanted = [
        (renamed, "share", "matroska"),
        (quicktime, "share", "mov"),
        (avi, "share", "matroska"),
        (quicktime, "archive", "matroska"),
        (renamed, "edit", "mov"),
    ]
    for film, profile, container in wanted:
        assert choose_encoding(open_video(film).info, profile).container == container


# Whole copies.


@pytest.mark.parametrize(
    ("source", "target"),
    [("a.mp4", "b.mp4"), ("a.mkv", "b.mkv"), ("a.mp4", "b.mkv"), ("a.mkv", "b.mp4"),
     ("a.ts", "b.mkv"), ("a.ts", "b.mp4"), ("a.mov", "b.mov")],
)  # fmt: skip
def test_copies_have_the_same_packets_and_times(make_film, packets_of, times_of, source, target):
    path = make_film(
        source, frames=30, sound="ac3", options={"bf": "3"}, sar=Fraction(4, 3),
        chapters=[(0, 500, "A")], tags={"title": "T"},
    )  # fmt: skip
    out = path.with_name(target)
    warnings = copy_film(open_video(path), out, note="facerestore test")
    assert warnings == []
    assert [d for _, d in packets_of(out, "audio")] == [d for _, d in packets_of(path, "audio")]
    first, second = times_of(path), times_of(out)
    assert [float(t) for t in second] == pytest.approx([float(t) for t in first], abs=6e-4)
    before, after = open_video(path).info, open_video(out).info
    assert (after.sar, after.codec, after.chapters) == (before.sar, before.codec, before.chapters)
    sound = offsets(packets_of, times_of, path), offsets(packets_of, times_of, out)
    assert [t for t, _ in sound[1]] == pytest.approx([t for t, _ in sound[0]], abs=1.1e-3)


def test_copies_keep_the_pictures(make_film, planes_of):
    path = make_film("a.mkv", frames=20, options={"bf": "3"})
    copy_film(open_video(path), path.with_name("b.mp4"), note="n")
    assert equal(planes_of(path), planes_of(path.with_name("b.mp4")))


def test_copies_into_a_container_that_cannot_hold_the_picture(make_film):
    path = make_film("a.mkv", codec="ffv1", frames=3, options={})
    with pytest.raises(UsageError, match=r"\.mkv"):
        copy_film(open_video(path), path.with_name("b.mov"), note="n")
    assert os.listdir(path.parent) == [path.name]


# Trouble.


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit, MemoryError])
@pytest.mark.parametrize("after", [0, 3])
def test_whatever_happens_no_half_file_stays(make_film, error, after):
    path = make_film(frames=10, sound="aac")
    film = open_video(path)
    out = path.with_name("b.mkv")
    with pytest.raises(error), create_like(film, out, profile="archive", note="n") as sink:
        for index, frame in enumerate(film.frames()):
            if index == after:
                assert f".b.{os.getpid()}.part.mkv" in os.listdir(path.parent)
                raise error
            sink.write(frame)
    assert os.listdir(path.parent) == [path.name]


def test_an_interrupted_overwrite_leaves_the_old_file(make_film):
    path = make_film(frames=10)
    old = path.with_name("b.mp4")
    old.write_bytes(b"old")
    film = open_video(path)
    with pytest.raises(KeyboardInterrupt), create_like(film, old, note="n", overwrite=True) as sink:
        sink.write(next(film.frames()))
        raise KeyboardInterrupt
    assert old.read_bytes() == b"old"


def test_existing_output_and_output_equal_to_input(make_film):
    path = make_film(frames=3)
    path.with_name("b.mp4").write_bytes(b"old")
    with pytest.raises(UsageError, match="exists"):
        rewrite(path, "b.mp4")
    with pytest.raises(UsageError, match="exists"):
        copy_film(open_video(path), path.with_name("b.mp4"), note="n")
    with pytest.raises(UsageError, match="input itself"):
        rewrite(path, "film.mp4", overwrite=True)
    link = path.with_name("link.mp4")
    link.symlink_to(path)
    with pytest.raises(UsageError, match="input itself"):
        rewrite(path, "link.mp4", overwrite=True)
    assert path.with_name("b.mp4").read_bytes() == b"old"
    rewrite(path, "b.mp4", overwrite=True)


def test_a_folder_that_cannot_be(make_film, tmp_path):
    path = make_film(frames=3)
    (tmp_path / "file").write_bytes(b"")
    out, film = tmp_path / "file" / "b.mp4", open_video(path)
    with (
        pytest.raises(ResourceError, match="cannot be written") as caught,
        create_like(film, out, note="n"),
    ):
        pass
    assert caught.value.exit_code == 5


DISK_FULL = """
import signal, sys, resource
from pathlib import Path
from facerestore.errors import ResourceError
from facerestore.video.reader import open_video
from facerestore.video.writer import create_like
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
film = open_video(Path(sys.argv[1]))
try:
    with create_like(film, Path(sys.argv[1]).with_name(sys.argv[3]), profile="lossless",
                     note="n") as sink:
        for frame in film.frames():
            sink.write(frame)
except ResourceError as error:
    assert "disk is full" in str(error), error
    sys.exit(5)
"""


@pytest.mark.parametrize("name", ["b.mp4", "b.mkv"])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.999])
def test_a_full_disk_is_said_and_leaves_nothing(make_film, name, share):
    path = make_film(frames=30, size=(160, 120))
    out, _ = rewrite(path, name, profile="lossless")
    limit = int(out.stat().st_size * share)
    out.unlink()
    done = run([sys.executable, "-c", DISK_FULL, str(path), str(limit), name], timeout=60)
    assert done.returncode == 5
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("sound", ["ac3", "aac"])
@pytest.mark.parametrize("name", ["b.mkv", "b.mp4"])
def test_damaged_sound_does_not_stop_the_film(make_film, sound, name):
    path = make_film("a.ts", frames=50, sound=sound)
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(0)
    for place in rng.integers(len(data) // 4, len(data), 25):
        data[place : place + 40] = rng.bytes(40)
    path.write_bytes(data)
    out, _ = rewrite(path, name)
    assert len(list(open_video(out).frames())) > 30


@pytest.mark.parametrize("name", ["b.mkv", "b.mp4"])
def test_sound_of_broadcasts_is_repacked_without_loss(make_film, name):
    """AAC of transport streams has headers in each packet that other containers keep once."""
    path = make_film("a.ts", frames=30, sound="aac")
    out, _ = rewrite(path, name)
    heard = []
    for film in (path, out):
        with av.open(str(film)) as container:
            heard.append([f.to_ndarray() for f in container.decode(audio=0)])
    assert len(heard[0]) == len(heard[1])
    assert all(np.array_equal(a, b) for a, b in zip(*heard, strict=True))


def test_a_header_that_cannot_be_written_is_an_error_not_a_crash(tmp_path):
    with av.open(str(tmp_path / "b.mkv"), "w") as target:
        target.add_mux_stream("h264")  # without a size
        with pytest.raises(BadInputError, match=r"a\.mkv: .*matroska.*; name"):
            write_header(target, tmp_path / "a.mkv")


@pytest.mark.parametrize(("profile", "name"), [("share", "b.mp4"), ("archive", "b.mkv")])
def test_the_real_vfr_film(shared_clips, tmp_path, packets_of, times_of, planes_of, profile, name):
    path = shared_clips / "talk_vfr_audio.mp4"
    film = open_video(path)
    with create_like(film, tmp_path / name, profile=profile, note="n", end_seconds=2.0) as sink:
        for frame in film.frames(end_seconds=2.0):
            sink.write(frame)
    before, after = times_of(path), times_of(tmp_path / name)
    tolerance = 0 if name == "b.mp4" else Fraction(1, 2000)
    assert all(abs(a - b) <= tolerance for a, b in zip(before, after, strict=False))
    sound = packets_of(tmp_path / name, "audio")
    assert [d for _, d in sound] == [d for _, d in packets_of(path, "audio")][: len(sound)]
    assert len(after) > 30


def test_what_appeared_meanwhile_is_not_replaced(make_film):
    path = make_film(frames=4)
    film, out = open_video(path), path.with_name("b.mkv")
    with pytest.raises(UsageError, match="meanwhile"), create_like(film, out, note="n") as sink:
        for frame in film.frames():
            sink.write(frame)
        out.write_bytes(b"of somebody else")
    assert out.read_bytes() == b"of somebody else"
    assert sorted(os.listdir(path.parent)) == ["b.mkv", path.name]


@pytest.mark.parametrize("name", ["pipe:0.mp4", "file:x.mp4", "http:a.mp4"])
def test_names_that_look_like_protocols(make_film, monkeypatch, name):
    path = make_film(frames=4)
    path.rename(path.with_name(name))
    monkeypatch.chdir(path.parent)
    film = open_video(Path(name))
    with create_like(film, Path(f"out {name}"), note="n") as sink:
        for frame in film.frames():
            sink.write(frame)
    assert open_video(Path(f"out {name}")).info.width == film.info.width
