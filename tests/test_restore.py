"""The whole line, film to film, with restorers whose answer is known and the real detector."""

import json
from pathlib import Path

import av
import numpy as np
import pytest

from facerestore.bench import Unchanged
from facerestore.errors import BadInputError, UsageError
from facerestore.faces.detect import load_detector
from facerestore.frames import Tasks
from facerestore.options import RestoreOptions, Tools
from facerestore.restore import restore
from facerestore.video.layout import plane_views


class Inverted(Unchanged):
    """Changes every pixel it is given as much as possible."""

    def restore(self, clip, tasks, reference, **how):
        return 255 - clip.frames


@pytest.fixture(scope="module")
def detector():
    return load_detector("centerface")


def run(source, output, detector, *, restorer=None, **options):
    tools = Tools(restorer or Inverted(64), detector, None, {"name": "test"})
    return restore(source, output, RestoreOptions(**options), tools=lambda: tools)


def planes(path):
    """Per frame its time and its planes."""
    with av.open(str(path)) as film:
        return [
            (frame.pts * frame.time_base, [view.copy() for view in plane_views(frame)])
            for frame in film.decode(video=0)
        ]


def packets(path, kind):
    with av.open(str(path)) as film:
        streams = [s for s in film.streams if s.type == kind]
        return [(p.pts * p.time_base, bytes(p)) for p in film.demux(*streams) if p.size]


def test_example_is_followed_from_the_first_frame_to_the_last(example, detector, tmp_path):
    result = run(example, tmp_path / "o.mp4", detector)
    (face,) = result.faces
    assert (face["first_frame"], face["last_frame"]) == (0, 99)
    sides = np.array(face["squares"])[:, 2]
    assert 0.55 * 360 < sides.mean() < 1.1 * 360
    assert sides.std() < 0.1 * sides.mean()


def test_sound_times_and_tags_survive(example, detector, tmp_path):
    output = tmp_path / "o.mp4"
    run(example, output, detector)
    assert [t for t, _ in planes(output)] == [t for t, _ in planes(example)]
    assert packets(output, "audio") == packets(example, "audio")
    with av.open(str(example)) as old, av.open(str(output)) as new:
        assert new.metadata["title"] == old.metadata["title"]
        assert "facerestore" in new.metadata["comment"]
        assert [c["metadata"] for c in new.chapters()] == [c["metadata"] for c in old.chapters()]


FORMATS = [
    ("yuv420p", (640, 360)),
    ("yuv422p", (640, 360)),
    ("yuv444p", (640, 360)),
    ("yuv420p10le", (640, 360)),
    ("yuv422p10le", (640, 360)),
    ("yuv444p12le", (640, 360)),
    ("gray", (640, 360)),
    ("gray10le", (640, 360)),
    ("yuv420p", (641, 359)),
    ("bgr0", (640, 360)),
]


@pytest.mark.parametrize(("pix_fmt", "size"), FORMATS)
def test_archive_changes_no_sample_outside_the_squares(
    make_film, detector, tmp_path, pix_fmt, size
):
    source = make_film(pix_fmt=pix_fmt, size=size)
    result = run(source, tmp_path / "o.mkv", detector, profile="archive")
    (face,) = result.faces
    old, new = planes(source), planes(result.output)
    assert [t for t, _ in old] == [t for t, _ in new]
    for (_, before), (_, after), square in zip(old, new, face["squares"], strict=True):
        for a, b in zip(before, after, strict=True):
            assert a.shape == b.shape
            changed = np.argwhere(a != b)
            if pix_fmt.startswith("gray") or len(before) == 1 or a.shape[0] == size[1]:
                assert len(changed) > 1000  # the face itself is another one
            left, top, side = np.array(square) * a.shape[0] / size[1]
            if len(changed):
                inside = [top - 1, left - 1], [top + side + 1, left + side + 1]
                scale = np.array([1, a.shape[1] / size[0] * size[1] / a.shape[0]])
                assert (changed[:, :2] >= inside[0] * scale).all()
                assert (changed[:, :2] <= inside[1] * scale).all()


def test_an_unchanged_face_changes_nothing_visible(make_film, detector, tmp_path):
    source = make_film()
    result = run(source, tmp_path / "o.mkv", detector, restorer=Unchanged(), profile="archive")
    for (_, before), (_, after) in zip(planes(source), planes(result.output), strict=True):
        for a, b in zip(before, after, strict=True):
            assert np.abs(a.astype(int) - b).max() <= 1


def test_strength_zero_changes_nothing(make_film, detector, tmp_path):
    source = make_film()
    result = run(source, tmp_path / "o.mkv", detector, profile="archive", strength=0.0)
    for (_, before), (_, after) in zip(planes(source), planes(result.output), strict=True):
        assert all((a == b).all() for a, b in zip(before, after, strict=True))


def test_colour_leaves_luma_alone(make_film, detector, tmp_path):
    source = make_film()
    options = {"tasks": Tasks(color=True), "profile": "archive"}
    result = run(source, tmp_path / "o.mkv", detector, **options)
    for (_, before), (_, after) in zip(planes(source), planes(result.output), strict=True):
        assert (before[0] == after[0]).all()
        assert (before[1] != after[1]).any()


def test_a_grey_film_can_be_coloured(make_film, detector, tmp_path):
    source = make_film(pix_fmt="gray")
    options = {"tasks": Tasks(color=True), "profile": "archive"}

    class Reddish(Unchanged):
        def restore(self, clip, tasks, reference, **how):
            return np.clip(clip.frames + np.array([60, 0, 0]), 0, 255).astype(np.uint8)

    result = run(source, tmp_path / "o.mkv", detector, restorer=Reddish(64), **options)
    for (_, before), (_, after) in zip(planes(source), planes(result.output), strict=True):
        assert (before[0] == after[0]).all()
        assert after[2].max() > 140
        assert after[2][0, 0] == 128


def test_inpainting_touches_only_the_holes_and_their_rims(example, detector, tmp_path):
    mask = Path(example).with_name("old_clip_mask.png")
    options = {"tasks": Tasks(inpaint=True), "mask": mask, "profile": "archive"}
    result = run(
        example, tmp_path / "o.mkv", detector, restorer=Inverted(256), end_seconds=0.4, **options
    )
    import cv2

    hole = cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE) > 127
    near = cv2.dilate(hole.astype(np.uint8), np.ones((31, 31), np.uint8)) > 0
    old, new = planes(example)[:10], planes(result.output)
    for (_, before), (_, after) in zip(old, new, strict=True):
        changed = before[0] != after[0]
        assert changed[hole].mean() > 0.5
        assert not changed[~near].any()


@pytest.mark.parametrize(
    ("rows", "warning"),
    [
        ((0.45, 0.55), "it is filled inside only"),  # from border to border, across the face
        ((0.98, 1.0), "nothing was filled"),
    ],
)
def test_holes_that_are_not_filled_are_told_of(example, detector, tmp_path, rows, warning):
    import cv2

    mask = np.zeros((360, 640), np.uint8)
    mask[slice(*(int(row * 360) for row in rows))] = 255
    cv2.imwrite(str(tmp_path / "m.png"), mask)
    options = {"tasks": Tasks(inpaint=True), "mask": tmp_path / "m.png", "end_seconds": 0.2}
    result = run(example, tmp_path / "o.mp4", detector, restorer=Inverted(256), **options)
    assert any(warning in text for text in result.warnings)


def test_a_part_starts_at_zero_with_its_sound(example, detector, tmp_path):
    result = run(example, tmp_path / "o.mp4", detector, start_seconds=1.0, end_seconds=2.0)
    times = [float(t) for t, _ in planes(result.output)]
    assert len(times) == 25
    assert times[0] == 0
    sound = [float(t) for t, _ in packets(result.output, "audio")]
    assert abs(sound[0]) < 0.03
    assert 0.9 < sound[-1] < 1.03


def test_a_film_without_faces_is_copied(make_film, detector, tmp_path):
    room = [np.full((360, 640, 3), 40 + 5 * i, np.uint8) for i in range(12)]
    source = make_film(pictures=room)
    result = run(source, tmp_path / "o.mkv", detector)
    assert not result.faces
    assert any("no face" in text for text in result.warnings)
    assert packets(result.output, "video") == packets(source, "video")


def test_a_part_of_a_film_without_faces_is_a_part(make_film, detector, tmp_path):
    room = [np.full((360, 640, 3), 40 + 5 * i, np.uint8) for i in range(12)]
    source = make_film(pictures=room)
    result = run(source, tmp_path / "o.mkv", detector, end_seconds=0.2, profile="archive")
    assert len(planes(result.output)) == 5


def test_the_sidecar_tells_what_was_done(example, detector, tmp_path):
    import hashlib

    result = run(example, tmp_path / "o.mp4", detector, end_seconds=0.4, seed=3)
    told = json.loads((tmp_path / "o.mp4.facerestore.json").read_text())
    assert told["input"]["sha256"] == hashlib.sha256(example.read_bytes()).hexdigest()
    assert told["output"]["sha256"] == hashlib.sha256(result.output.read_bytes()).hexdigest()
    assert told["options"]["seed"] == 3
    assert told["faces"][0]["squares"][0][2] > 100
    assert told["faces"][0]["crop"] == 64
    assert told["frames"] == 10
    assert told["detector"]["name"] == "centerface"


def test_crop_only_writes_the_square(example, detector, tmp_path):
    result = run(example, tmp_path / "o.mp4", detector, crop_only=True, end_seconds=0.4)
    with av.open(str(result.output)) as film:
        sizes = {(f.width, f.height) for f in film.decode(video=0)}
    assert sizes == {(64, 64)}


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, MemoryError])
def test_whatever_happens_leaves_no_file_but_the_hidden_work(example, detector, tmp_path, error):
    class Fails(Unchanged):
        def restore(self, clip, tasks, reference, **how):
            raise error

    with pytest.raises(error):
        run(example, tmp_path / "o.mp4", detector, restorer=Fails(), end_seconds=0.4)
    assert [path.name for path in tmp_path.iterdir()] == [".o.mp4.facerestore"]


def test_an_existing_output_is_kept(example, detector, tmp_path):
    (tmp_path / "o.mp4").write_text("mine")
    with pytest.raises(UsageError, match="exists"):
        run(example, tmp_path / "o.mp4", detector)
    assert (tmp_path / "o.mp4").read_text() == "mine"


def test_the_input_is_never_the_output(example, detector):
    with pytest.raises(UsageError, match="input itself"):
        run(example, example, detector, overwrite=True)


def test_a_mask_of_another_shape_is_refused(example, detector, tmp_path):
    import cv2

    cv2.imwrite(str(tmp_path / "m.png"), np.zeros((100, 100), np.uint8))
    with pytest.raises(BadInputError, match="shape"):
        run(
            example,
            tmp_path / "o.mp4",
            detector,
            tasks=Tasks(inpaint=True),
            mask=tmp_path / "m.png",
        )


def test_inpainting_without_a_mask_is_refused():
    with pytest.raises(UsageError, match="--mask"):
        RestoreOptions(tasks=Tasks(inpaint=True))


def test_real_variable_frame_rate_keeps_every_time(clips, detector, tmp_path):
    source = clips / "talk_vfr_audio.mp4"
    result = run(source, tmp_path / "o.mp4", detector)
    assert [t for t, _ in planes(result.output)] == [t for t, _ in planes(source)]
    assert packets(result.output, "audio") == packets(source, "audio")
