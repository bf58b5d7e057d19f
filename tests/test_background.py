"""A film whose background is changed: what changes, what does not, and what happens on the way."""

import json
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch

from facerestore.bench import Unchanged
from facerestore.errors import UsageError
from facerestore.faces.detect import Detector, Found
from facerestore.frames import Tasks
from facerestore.models.background import EDGE, Background
from facerestore.options import RestoreOptions, Tools
from facerestore.places import sidecar_path, work_folder
from facerestore.plan import plan
from facerestore.ray_runner import whole_background
from facerestore.restore import restore
from facerestore.video.layout import layout, plane_views
from facerestore.video.reader import open_video

sys.path.insert(0, str(Path(__file__).parent / "models"))
sys.path.insert(0, str(Path(__file__).parent))
from standins import brightening, colouring

from cheap import Marks, film_of, two_faces

restoring = import_module("facerestore.restore")  # facerestore.restore is the function
SIDE = 32  # px of the grid of colours in these tests


@pytest.fixture(autouse=True)
def small_grid(monkeypatch):
    monkeypatch.setattr("facerestore.background.COLOUR_SIDE", SIDE)


def background(answer, *, colours=False):
    """A background whose network is a function of a tensor [1, 3, H, W]."""
    network = SimpleNamespace(architecture=SimpleNamespace(id="none"), model=answer)
    called = answer if colours else type("Net", (), {"__call__": lambda self, x: answer(x)})()
    if not colours:
        called.architecture = network.architecture
    facts = {"name": "net", "version": "1", "sha256": {"net.pth": "0"}, "licence": "", "kind": ""}
    return Background(
        network if colours else called, torch.device("cpu"), Path("net.pth"), facts, colours, 256
    )


def brighter(x):
    return x + 0.1


class Flickering:
    """Colours that differ from call to call, by what was shown and how often."""

    def __init__(self, *, stop_at=None):
        self.calls, self.stop_at = 0, stop_at

    def __call__(self, x):
        self.calls += 1
        if self.calls == self.stop_at:
            raise KeyboardInterrupt
        grey = x[:, :1]
        return torch.cat([40 * grey + 20 * (self.calls % 2), 30 - 60 * grey], dim=1)


def nobody(picture):
    return Found(np.zeros((0, 4)), np.zeros((0, 5, 2)), np.zeros(0))


def tools_of(behind, *, faces=nobody, restorer=None):
    detector = Detector("fixed", "0" * 64, faces, "1")
    model = {"name": "test", "version": "1", "sha256": {}}
    return Tools(restorer or Unchanged(64), detector, None, model, "", behind)


def run(source, output, behind, *, faces=nobody, restorer=None, say=lambda text: None, **options):
    tools = tools_of(behind, faces=faces, restorer=restorer)
    options = RestoreOptions(**{"profile": "archive", "background": "net.pth", **options})
    return restore(source, output, options, tools=lambda: tools, say=say)


def frames(path):
    with av.open(str(path)) as film:
        return [
            (frame.pts * frame.time_base, [view.copy() for view in plane_views(frame)])
            for frame in film.decode(video=0)
        ]


def mean_rise(before, after):
    """Mean change of luma in codes."""
    pairs = [(b[1][0], a[1][0]) for b, a in zip(before, after, strict=True)]
    return np.mean([(a.astype(float) - b)[..., :3].mean() for b, a in pairs])


FORMATS = [
    ("yuv420p", (96, 64), 1),
    ("yuv422p10le", (96, 64), 4),
    ("yuv444p12le", (95, 63), 16),
    ("yuv420p", (97, 65), 1),
    ("gray", (96, 64), 1),
    ("gray10le", (96, 64), 4),
    ("bgr0", (96, 64), 1),
]


@pytest.mark.parametrize(("pix_fmt", "size", "unit"), FORMATS)
def test_a_film_without_faces_is_sharpened_in_its_own_format(
    make_film, tmp_path, pix_fmt, size, unit
):
    pictures = [np.full((64, 96, 3), 60 + 10 * i, np.uint8) for i in range(4)]
    source = make_film(pix_fmt=pix_fmt, size=size, pictures=pictures)
    result = run(source, tmp_path / "o.mkv", background(brighter))
    old, new = frames(source), frames(result.output)
    assert [t for t, _ in old] == [t for t, _ in new]
    info, made = open_video(source).info, open_video(result.output).info
    assert (made.width, made.height, made.pix_fmt) == (info.width, info.height, info.pix_fmt)
    full = pix_fmt in ("bgr0",) or pix_fmt.startswith("gray")
    assert mean_rise(old, new) / unit == pytest.approx(25.5 if full else 21.9, abs=4)


def test_a_network_that_changes_nothing_changes_nothing(make_film, tmp_path):
    source = make_film(pix_fmt="yuv420p10le", size=(160, 90), count=3)
    run(source, tmp_path / "o.mkv", background(lambda x: x))
    for (_, old), (_, new) in zip(frames(source), frames(tmp_path / "o.mkv"), strict=True):
        assert all((a == b).all() for a, b in zip(old, new, strict=True))


def test_the_record_says_what_was_done(make_film, tmp_path):
    source = make_film(size=(300, 280), count=3)
    result = run(source, tmp_path / "o.mkv", background(brighter))
    record = json.loads(sidecar_path(result.output).read_text())
    assert record["background"]["sha256"] == {"net.pth": "0"}
    assert record["background_forwards"] == 3 * 4
    assert record["changed_outside_faces"] is True
    assert record["options"]["background"] == "net.pth"
    with av.open(str(result.output)) as film:
        assert "background net" in " ".join(film.metadata.values())
    plain = run(source, tmp_path / "p.mkv", None, background=None)
    record = json.loads(sidecar_path(plain.output).read_text())
    assert record["background"] is None
    assert record["changed_outside_faces"] is False
    assert record["encoder"] == {"codec": "copy"}


class Inverted(Unchanged):
    def restore(self, clip, tasks, reference, **how):
        return 255 - clip.frames


def test_faces_are_cut_from_the_film_and_pasted_as_without_a_background(tmp_path):
    source = film_of(tmp_path / "film.mkv", frames=8, still=True)
    seen = []

    class Seeing(Inverted):
        def restore(self, clip, tasks, reference, **how):
            seen.append(clip.frames.copy())
            return super().restore(clip, tasks, reference, **how)

    made = {}
    for name, behind in (("with", background(brighter)), ("without", None)):
        how = {"background": None} if behind is None else {}
        made[name] = run(
            source, tmp_path / f"{name}.mkv", behind, faces=two_faces, restorer=Seeing(64), **how
        )
    half = len(seen) // 2
    assert all((a == b).all() for a, b in zip(seen[:half], seen[half:], strict=True))
    pairs = zip(frames(tmp_path / "with.mkv"), frames(tmp_path / "without.mkv"), strict=True)
    squares = made["with"].faces[0]["squares"]
    for ((_, behind), (_, plain)), (left, top, side) in zip(pairs, squares, strict=True):
        middle = slice(int(top + 0.45 * side), int(top + 0.6 * side))
        across = slice(int(left + 0.4 * side), int(left + 0.6 * side))
        assert np.abs(behind[0][middle, across].astype(int) - plain[0][middle, across]).max() <= 1
        assert (behind[0][:, -10:].astype(int) - plain[0][:, -10:]).mean() > 15


def greys(number=8, size=(96, 64)):
    rng = np.random.default_rng(1)
    base = np.repeat(rng.integers(60, 200, (*size[::-1], 1), np.uint8), 3, axis=-1)
    return [np.roll(base, i, axis=1) for i in range(number)]


@pytest.mark.parametrize("pix_fmt", ["gray", "gray10le", "yuv420p", "yuv422p10le", "bgr0"])
def test_colours_leave_the_films_luma_alone(make_film, tmp_path, pix_fmt):
    source = make_film(pix_fmt=pix_fmt, size=(96, 64), pictures=greys())
    result = run(source, tmp_path / "o.mkv", background(Flickering(), colours=True))
    grey = pix_fmt.startswith("gray")
    made = open_video(result.output).info.pix_fmt
    assert made == (pix_fmt.replace("gray", "yuv444p") if grey else pix_fmt)
    for (t, old), (u, new) in zip(frames(source), frames(result.output), strict=True):
        assert t == u
        if pix_fmt == "bgr0":
            weights = np.float32([0.114, 0.587, 0.299])
            assert np.abs(old[0][..., :3] @ weights - new[0][..., :3] @ weights).max() < 1.01
            assert new[0][..., 2].mean() > new[0][..., 0].mean() + 3
        else:
            assert (old[0] == new[0]).all()
            assert new[2].mean() > (130 if "10" not in pix_fmt else 520)
    assert not any("colours already" in text for text in result.warnings)


def test_a_film_that_has_colours_is_told_so(example, tmp_path):
    behind = background(Flickering(), colours=True)
    result = run(example, tmp_path / "o.mkv", behind, end_seconds=0.2)
    assert any("colours already: the background replaces" in text for text in result.warnings)


def chroma(path):
    """Mean red difference of each frame."""
    return np.array([planes[2].mean() for _, planes in frames(path)])


def test_colours_are_steady_in_a_shot_and_new_after_a_cut(make_film, tmp_path):
    """The network flickers by 20 from call to call; after the cut it begins anew."""
    dark, light = (np.full((64, 96, 3), level, np.uint8) for level in (60, 190))
    dark[:, ::8], light[::8] = 40, 220
    source = make_film(size=(96, 64), pictures=[dark] * 15 + [light] * 15, count=30)
    network = Flickering()
    result = run(source, tmp_path / "o.mkv", background(network, colours=True))
    assert [shot.first for shot in result.survey.shots] == [0, 15]
    assert network.calls == 30
    shown = chroma(result.output)
    assert np.abs(np.diff(shown))[3:14].max() < 2  # 9 without smoothing
    alone, later = tmp_path / "later.mkv", Flickering()
    later.calls = 15
    run(source, alone, background(later, colours=True), start_seconds=0.04 * 14.9)
    assert (chroma(alone) == shown[15:]).all()  # nothing of the shot before


def test_an_interrupted_film_goes_on_with_its_colours(tmp_path):
    source = film_of(tmp_path / "film.mkv", frames=100, size=(96, 64))

    def go(name, network, **how):
        behind = background(network, colours=True)
        return run(source, tmp_path / name, behind, faces=two_faces, restorer=Marks(), **how)

    whole = go("whole.mkv", Flickering())
    with pytest.raises(KeyboardInterrupt):
        go("o.mkv", Flickering(stop_at=60))
    assert work_folder(tmp_path / "o.mkv").is_dir()
    said = []
    rest = Flickering()
    rest.calls = 48  # as often as it was called for the frames that are kept
    again = go("o.mkv", rest, say=said.append)
    assert said == ["o.mkv: going on with work from before, at frame 48"]
    assert rest.calls == 100
    old, new = frames(whole.output), frames(again.output)
    for (t, a), (u, b) in zip(old, new, strict=True):
        assert t == u
        assert all((x == y).all() for x, y in zip(a, b, strict=True))
    assert again.background_cost == whole.background_cost == 100
    assert again.warnings == whole.warnings


@pytest.mark.parametrize("change", ["name", "file"])
def test_another_background_starts_over_and_says_so(tmp_path, change):
    source, said = film_of(tmp_path / "film.mkv", frames=70, size=(96, 64)), []
    how = {"faces": two_faces, "restorer": Marks()}
    with pytest.raises(KeyboardInterrupt):
        run(source, tmp_path / "o.mkv", background(Flickering(stop_at=60), colours=True), **how)
    behind = background(Flickering(), colours=True)
    if change == "file":
        behind.facts["sha256"] = {"net.pth": "1"}
    name = "other.pth" if change == "name" else "net.pth"
    run(source, tmp_path / "o.mkv", behind, background=name, say=said.append, **how)
    what = "options (background)" if change == "name" else "background"
    assert said == [f"o.mkv: {what} changed since; starting over"]


def test_faces_without_colours_of_their_own_take_those_of_the_background(tmp_path, make_film):
    """bfr gives brightness to a face in a coloured film, color gives its own colours."""
    pictures = [np.repeat(p[..., :1], 3, axis=-1) for p in greys(6, (192, 144))]
    source = make_film(size=(192, 144), pix_fmt="gray", pictures=pictures)

    class Green(Unchanged):
        def restore(self, clip, tasks, reference, **how):
            if not tasks.color:
                return 255 - clip.frames
            return np.clip(clip.frames + np.array([-30, 30, -30]), 0, 255).astype(np.uint8)

    def still(x):
        return torch.cat([torch.full_like(x[:, :1], 30.0), torch.zeros_like(x[:, :1])], dim=1)

    made = {}
    for name, tasks in (("bfr", Tasks(bfr=True)), ("color", Tasks(color=True))):
        behind = background(still, colours=True)
        result = run(
            source, tmp_path / f"{name}.mkv", behind, faces=two_faces, restorer=Green(64),
            tasks=tasks,
        )  # fmt: skip
        made[name] = frames(result.output)[2][1]
        left, top, side = result.faces[0]["squares"][2]
    assert not any("faces only, not to the whole" in text for text in result.warnings)
    y, x = int(top + side / 2), int(left + side / 2)
    face, far = (slice(y - 4, y + 4), slice(x - 4, x + 4)), (slice(0, 8), slice(-8, None))
    assert made["bfr"][2][face].mean() == pytest.approx(made["bfr"][2][far].mean(), abs=3)
    assert made["color"][2][face].mean() < 128 < made["color"][2][far].mean() - 5
    luma = frames(source)[2][1][0]
    assert (made["color"][0] == luma).all()
    assert np.abs(made["bfr"][0][face].astype(int) - luma[face]).mean() > 10
    assert (made["bfr"][0][far] == luma[far]).all()


def test_fields_are_changed_one_by_one(tmp_path, monkeypatch, make_film):
    source, shown = make_film(size=(96, 64), count=2), []
    info = open_video(source).info
    monkeypatch.setattr(restoring, "open_video", lambda path: _interlaced(path, info))

    def seen(x):
        shown.append(tuple(x.shape[2:]))
        return x + 0.1

    result = run(source, tmp_path / "o.mkv", background(seen))
    assert shown == [(32 + 2 * EDGE, 96 + 2 * EDGE)] * 4
    assert mean_rise(frames(source), frames(result.output)) > 15


def _interlaced(path, info):
    film = open_video(path)
    film.info = replace(info, interlaced=True)
    return film


def test_hdr_is_copied_and_told(tmp_path, make_film, monkeypatch):
    source = make_film(size=(96, 64), count=3)
    real = open_video(source)

    def hdr(path):
        film = open_video(path)
        film.info = replace(real.info, color_trc=16)
        return film

    monkeypatch.setattr(restoring, "open_video", hdr)
    result = run(source, tmp_path / "o.mkv", background(brighter))
    assert any("background is not changed either" in text for text in result.warnings)
    for (_, a), (_, b) in zip(frames(source), frames(result.output), strict=True):
        assert (a[0] == b[0]).all()
    record = json.loads(sidecar_path(result.output).read_text())
    assert record["changed_outside_faces"] is False


def test_progress_only_grows(tmp_path):
    source, steps = film_of(tmp_path / "film.mkv", frames=30), []
    tools = tools_of(background(brighter), faces=two_faces, restorer=Marks())
    options = RestoreOptions(profile="archive", background="net.pth")
    restore(source, tmp_path / "o.mkv", options, tools=lambda: tools, listen=steps.append)
    done = [step.frame for step in steps if step.stage == "restoring"]
    assert done == sorted(done)
    assert done[-1] == 30


def test_sound_and_tags_survive(example, tmp_path):
    result = run(example, tmp_path / "o.mp4", background(brighter), profile="share", end_seconds=2)
    with av.open(str(example)) as old, av.open(str(result.output)) as new:
        assert len(old.streams.audio) == len(new.streams.audio) == 1
        assert new.metadata["title"] == old.metadata["title"]


def test_what_would_be_done_is_told(make_film, tmp_path):
    source = make_film(size=(96, 64), count=3)
    options = RestoreOptions(background="net.pth")
    tools = tools_of(background(brighter))
    told = plan(source, None, options, tools=lambda: tools, listen=lambda step: None)
    assert told["would"] == "background net.pth"
    assert told["encoder"] != "copy"
    assert told["expected_seconds"] >= 0


def test_crop_only_has_no_background():
    with pytest.raises(UsageError, match="--crop-only shows no background"):
        RestoreOptions(crop_only=True, background="realesrgan")


def test_nodes_of_a_cluster_find_the_file(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert whole_background("net.pth") == str(tmp_path / "net.pth")
    assert whole_background("ddcolor") == "ddcolor"
    assert whole_background(None) is None


def test_the_command_with_a_real_network(example, tmp_path):
    net = brightening(tmp_path / "net.safetensors")
    command = [sys.executable, "-m", "facerestore", "restore", str(example), "--end", "0.12"]
    command += ["-m", "classic", "--device", "cpu", "-o", "o.mkv", "--profile", "archive"]
    done = subprocess.run(
        [*command, "--background", str(net)], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert mean_rise(frames(example)[:3], frames(tmp_path / "o.mkv")) > 10
    record = json.loads((tmp_path / "o.mkv.facerestore.json").read_text())
    assert record["background"]["version"].startswith("spandrel ")
    assert record["faces"]


def test_a_film_is_coloured_by_a_real_ddcolor(make_film, tmp_path):
    from facerestore.models.background import load_background

    behind = load_background(str(colouring(tmp_path / "dd.pth")), device="cpu")
    source = make_film(size=(96, 64), pix_fmt="gray", pictures=greys(3))
    result = run(source, tmp_path / "o.mkv", behind)
    for (_, old), (_, new) in zip(frames(source), frames(result.output), strict=True):
        assert (old[0] == new[0]).all()
        assert new[2].mean() > 132
    with av.open(str(result.output)) as film:
        assert layout(next(film.decode(video=0))).kind == "yuv"
