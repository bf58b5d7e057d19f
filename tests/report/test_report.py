"""From two films to a page: what is in it, what is refused, what is left behind."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from typer.testing import CliRunner

import cheap
from facerestore.cli import app
from facerestore.errors import BadInputError, DoneError, ResourceError, UsageError
from facerestore.frames import CropPath, FaceTrack, Shot, Tasks
from facerestore.options import RestoreOptions
from facerestore.report import report
from facerestore.report.gather import Gathered, Tile, _portrait
from facerestore.report.measure import Line
from facerestore.report.media import Media
from facerestore.report.notes import Note
from facerestore.report.page import html_of, page_facts
from facerestore.report.persons import Person
from facerestore.report.report import compare
from facerestore.restore import restore
from facerestore.video.reader import open_video

BUDGET = 200_000  # bytes of a page beside its media


def facts_of(page: Path):
    text = page.read_text("utf-8")
    coded = text.split('<script type="application/json" id="facts">')[1].split("</script>")[0]
    return json.loads(coded)


def beside_media(page: Path):
    return len(re.sub(r'"data:[^"]*"', '""', page.read_text("utf-8")).encode())


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """A film, and the same one restored, in a folder that the tests only read."""
    folder = tmp_path_factory.mktemp("films")
    before = cheap.film_of(folder / "a.mp4", frames=30)
    after = folder / "b.mp4"
    options = RestoreOptions(report=True, overwrite=True)
    said = []
    result = restore(before, after, options, tools=cheap.cheap_tools, say=said.append)
    assert not [text for text in result.warnings if "report" in text]
    assert said[-1] == f"report: {folder / 'b.mp4.report.html'}"
    return before, after


def test_restore_leaves_a_page_of_the_restoration(films):
    facts = facts_of(films[1].with_name("b.mp4.report.html"))
    record = json.loads(films[1].with_name("b.mp4.facerestore.json").read_text())
    assert facts["frames"] == 30
    assert set(record["warnings"]) <= {warning["text"] for warning in facts["warnings"]}
    numbers = {face["person"] + 1 for face in record["faces"]}
    assert {person["number"] for person in facts["people"]} == numbers
    person = facts["people"][0]
    assert set(person["lines"]) == {"identity", "sharpness", "temporal", "eyes", "mouth", "mask",
                                    "score"}  # fmt: skip
    assert len(person["lines"]["sharpness"]["after"]["values"]) == 30
    assert len(person["tiles"]) == 8
    assert person["stack"]["frames"] == 30
    details = {table["title"]: dict(table["rows"]) for table in facts["details"]}
    assert details["Options"]["tasks"] == "bfr"
    assert details["SHA-256 of the films"]["after"] == record["output"]["sha256"]
    assert details["Cost"]["frames through the network"] == str(record["frame_forwards"])
    assert beside_media(films[1].with_name("b.mp4.report.html")) < BUDGET


def test_compare_makes_the_same_page_with_and_without_a_record(films, instruments, tmp_path):
    with_record = facts_of(compare(*films, tmp_path / "r.html", instruments=instruments))
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(films[1].read_bytes())
    without = facts_of(compare(films[0], copy, tmp_path / "s.html", instruments=instruments))
    assert with_record["details"]
    assert not without["details"]
    assert without["people"][0]["lines"] == with_record["people"][0]["lines"]
    assert without["films"][1]["facts"][1] == ["picture", "h264 192x144 yuv420p 25 fps"]


def test_a_film_against_itself_has_not_changed(films, instruments, tmp_path):
    facts = facts_of(compare(films[0], films[0], tmp_path / "r.html", instruments=instruments))
    assert facts["film"]["changed"]["after"]["mean"] == 0
    lines = facts["people"][0]["lines"]
    assert lines["temporal"]["after"]["mean"] == 0
    assert lines["identity"]["after"]["mean"] == pytest.approx(1)
    assert lines["eyes"]["before"] == lines["eyes"]["after"]
    assert facts["warnings"] == []


def test_every_warning_with_a_moment_has_it(films, instruments, tmp_path):
    pictures = []
    with av.open(str(films[0])) as film:
        pictures = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    worse = tmp_path / "worse.mp4"
    with av.open(str(worse), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 192, 144, "yuv420p"
        for number, picture in enumerate(pictures):
            bright = np.clip(picture.astype(int) + 60 * (number % 2), 0, 255).astype(np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(bright, format="rgb24")))
        out.mux(stream.encode(None))
    facts = facts_of(compare(films[0], worse, tmp_path / "r.html", instruments=instruments))
    found = {w["text"]: w["seconds"] for w in facts["warnings"]}
    (text,) = (text for text in found if text.startswith("person 1") and "eyes" in text)
    assert "flickers more than before" in text
    assert 0 < found[text] < 1.2


def test_a_part_is_compared_with_the_same_part(tmp_path):
    before = cheap.film_of(tmp_path / "a.mp4", frames=40)
    after = tmp_path / "b.mp4"
    options = RestoreOptions(report=True, start_seconds=0.4, end_seconds=1.2, strength=0.0)
    restore(before, after, options, tools=cheap.cheap_tools)
    facts = facts_of(tmp_path / "b.mp4.report.html")
    assert facts["frames"] == 20
    assert facts["films"][0]["begins"] == pytest.approx(0.4)
    assert facts["films"][1]["begins"] == 0
    assert facts["film"]["changed"]["after"]["mean"] == pytest.approx(0, abs=1e-3)


def test_films_that_browsers_do_not_play_get_a_copy(instruments, tmp_path, make_film):
    lossless = make_film("lossless.mkv", size=(192, 144), count=6)
    facts = facts_of(compare(lossless, lossless, tmp_path / "r.html", instruments=instruments))
    assert all(film["preview"] and film["inside"] for film in facts["films"])
    assert facts["films"][0]["url"].startswith("data:video/mp4;base64,")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lossless.mkv", "r.html"]


def test_large_films_stay_beside_the_page(films, instruments, tmp_path, make_film, monkeypatch):
    monkeypatch.setattr("facerestore.report.media.MOST_BYTES", 1000)
    lossless = make_film('a "b" #1.mkv', size=(192, 144), count=6)
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(films[0].read_bytes())
    pages = tmp_path / "pages"
    facts = facts_of(compare(clip, clip, pages / "r.html", instruments=instruments))
    assert [film["url"] for film in facts["films"]] == ["../clip.mp4"] * 2
    facts = facts_of(compare(lossless, lossless, pages / "s.html", instruments=instruments))
    assert [film["url"] for film in facts["films"]] == ["s.films/before.mp4", "s.films/after.mp4"]
    assert facts["films"][0]["name"] == 'a "b" #1.mkv'
    names = ["after.mp4", "before.mp4", "r.html", "s.films", "s.html"]
    assert sorted(path.name for path in pages.rglob("*")) == names
    (pages / "s.html").unlink()
    with pytest.raises(UsageError, match=r"before\.mp4: exists already"):
        compare(lossless, lossless, pages / "s.html", instruments=instruments)


def test_names_are_never_markup(tmp_path):
    evil = "</script><script>alert(1)</script><b>&amp;{{facts}}"
    page, facts = tmp_path / "r.html", {"title": evil, "people": [evil]}
    page.write_text(html_of(facts))
    assert page.read_text().count("</script>") == 4
    assert "<b>" not in page.read_text()
    assert facts_of(page) == facts


def test_a_page_of_a_long_film_stays_small(films, tmp_path):
    """Two hours, hundreds of shots and people: numbers are thinned, tables are cut."""
    count, length = 600, 300
    frames = count * length
    rng = np.random.default_rng(0)
    track = FaceTrack(0, 0, 0, np.zeros((50, 4)), np.zeros((50, 5, 2)), np.ones(50))
    path = CropPath(0, np.zeros((50, 2)), np.ones(50))
    found = SimpleNamespace(
        n_frames=frames,
        rate=25.0,
        shots=tuple(Shot(i, i * length, (i + 1) * length - 1) for i in range(count)),
        tracks=[track] * count,
        paths=[path] * count,
    )
    people = [Person(i, (i,)) for i in range(count)]
    portraits = [_portrait(person, found) for person in people[:8]]
    changed = Line(frames, worst=1)
    for line in [changed, *(line for p in portraits for line in p.lines.values())]:
        line.points[:] = rng.random(len(line.points))
        line.total, line.count = 1.0, 1
    tile = Tile(0.0, *[np.zeros((8, 8, 3), np.uint8)] * 3)
    for portrait in portraits:
        portrait.tiles.extend([tile] * 8)
    times = np.arange(frames) / 25
    gathered = Gathered(portraits, times, changed, Line(frames, worst=1), (0, 0))
    notes = [Note(f"person {i} is unlike the source in 20 frames", i) for i in range(900)]
    film = open_video(films[0])
    media = Media("data:video/mp4;base64,", 0.0, False, True)
    facts = page_facts((film, film), (media, media), found, people, gathered, notes, {})
    page = tmp_path / "page.html"
    page.write_text(html_of(facts))
    assert beside_media(page) < BUDGET
    assert facts["warningsLeftOut"] == 700
    assert facts["peopleLeftOut"] == count - 8


@pytest.mark.parametrize(
    ("before", "after", "page", "error", "words"),
    [
        ("none.mp4", "b.mp4", "r.html", BadInputError, r"none\.mp4: no such file"),
        ("a.mp4", "b.mp4", ".", UsageError, "is a folder; name a file"),
        ("a.mp4", "b.mp4", "r.pdf", UsageError, r"r\.pdf: browsers open pages that end in \.html"),
        ("a.mp4", "b.mp4", "there.html", UsageError, "exists already.*--overwrite"),
        ("a.mp4", "text.html", "text.html", UsageError, "is one of the films"),
        ("a.mp4", "small.mp4", "r.html", BadInputError, "scale one of them first"),
        ("a.mp4", "b.mp4", "file/r.html", UsageError, "is not a folder"),
    ],
)
def test_bad_input_is_one_sentence(films, instruments, tmp_path, before, after, page, error, words):
    for film in films:
        (tmp_path / film.name).write_bytes(film.read_bytes())
    cheap.film_of(tmp_path / "small.mp4", frames=2, size=(96, 72))
    for name in ("there.html", "text.html", "file"):
        (tmp_path / name).write_text("x")
    here = sorted(tmp_path.iterdir())
    with pytest.raises(error, match=words) as raised:
        compare(tmp_path / before, tmp_path / after, tmp_path / page, instruments=instruments)
    assert "\n" not in str(raised.value)
    assert sorted(tmp_path.iterdir()) == here


def test_a_page_that_fails_is_not_there(films, instruments, tmp_path, monkeypatch):
    def full(facts):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report, "html_of", full)
    with pytest.raises(ResourceError, match=r"r\.html: the disk is full"):
        compare(*films, tmp_path / "r.html", instruments=instruments)
    assert list(tmp_path.iterdir()) == []


def test_a_page_that_fails_does_not_lose_the_film(tmp_path, monkeypatch):
    before = cheap.film_of(tmp_path / "a.mp4", frames=10)
    monkeypatch.setattr(report, "gather", lambda *args, **how: 1 / 0)
    options = RestoreOptions(report=True)
    result = restore(before, tmp_path / "b.mp4", options, tools=cheap.cheap_tools)
    assert "no report page (division by zero)" in result.warnings[-1]
    names = ["a.mp4", "b.mp4", "b.mp4.facerestore.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_a_film_that_is_done_still_gets_its_page(tmp_path):
    before = cheap.film_of(tmp_path / "a.mp4", frames=10)
    restore(before, tmp_path / "b.mp4", RestoreOptions(), tools=cheap.cheap_tools)
    again = RestoreOptions(report=True)
    with pytest.raises(DoneError):
        restore(before, tmp_path / "b.mp4", again, tools=cheap.cheap_tools)
    assert facts_of(tmp_path / "b.mp4.report.html")["frames"] == 10


def test_a_square_film_of_the_face_has_no_report():
    with pytest.raises(UsageError, match="--crop-only"):
        RestoreOptions(tasks=Tasks(bfr=True), report=True, crop_only=True)


def test_the_command(films, instruments, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "load_instruments", lambda device: instruments())
    arguments = ["compare", *map(str, films), "-o", str(tmp_path / "r.html")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0
    assert f"report: {tmp_path / 'r.html'}" in done.stderr
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 2
    assert again.stderr.count("\n") == 1
    assert "--overwrite" in again.stderr
    assert CliRunner().invoke(app, [*arguments, "--overwrite", "-q"]).output == ""
