"""What the page does, over the wire: films come in, are looked at, previewed, restored, stopped."""

import json
import os
import subprocess
import sys
import time
from http.client import HTTPConnection

import av
import cv2
import numpy as np
import psutil
import pytest

import cheap
from facerestore.serve.scratch import scratch_in
from facerestore.serve.wishes import Wish, options_of, preview_of
from serving import begin, end


def decoded(content, path):
    path.write_bytes(content)
    with av.open(str(path)) as film:
        return [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]


def test_the_folder_and_the_choices_are_told(served):
    told = served.json("api/folder")
    assert [film["name"] for film in told["films"]] == [
        "broken.mp4", "talk.mp4", "below/ü #1 &.mp4"]  # fmt: skip
    choices = served.json("api/choices")
    assert "mini" in choices["models"]
    assert choices["tasks"] == ["bfr", "color", "inpaint"]


def test_films_are_sent_in_parts(served, root):
    whole = (root / "talk.mp4").read_bytes()
    answer = served.get("files/talk.mp4")
    assert answer.body == whole
    assert answer.headers["content-type"] == "video/mp4"
    part = served.get("files/talk.mp4", headers={"Range": "bytes=100-199"})
    assert part.status == 206
    assert part.body == whole[100:200]
    assert part.headers["content-range"] == f"bytes 100-199/{len(whole)}"
    assert served.get("files/talk.mp4", headers={"Range": "bytes=99999999-"}).status == 416
    saved = served.get("files/below/%C3%BC%20%231%20%26.mp4?download=true")
    assert saved.headers["content-disposition"].startswith("attachment;")


def test_films_that_browsers_do_not_play_are_seen_and_played(served, root, make_film, tmp_path):
    os.replace(make_film("old.mkv", count=12), root / "old.mkv")
    facts = served.json("api/facts?film=old.mkv")
    assert facts["kind"] == ""
    assert (facts["width"], facts["height"], facts["rate"]) == (640, 360, 25)
    assert served.json("api/facts?film=talk.mp4")["kind"] == "video/mp4"
    still = served.get("api/still?film=old.mkv&at=0.2&side=320")
    assert still.headers["content-type"] == "image/jpeg"
    picture = cv2.imdecode(np.frombuffer(still.body, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (180, 320, 3)
    late = served.get("api/still?film=old.mkv&at=99")
    assert late.headers["content-type"] == "image/jpeg"  # its last picture
    clip = served.get("api/clip?film=old.mkv&number=0")
    assert len(decoded(clip.body, tmp_path / "clip.mp4")) == 12
    beyond = served.get("api/clip?film=old.mkv&number=7")
    assert beyond.status == 400
    (root / "old.mkv").unlink()


def test_a_damaged_film_is_said_in_one_sentence(served):
    answer = served.get("api/facts?film=broken.mp4")
    assert answer.status == 400
    message = json.loads(answer.body)["message"]
    assert message.startswith("broken.mp4: is not a readable video")
    still = served.get("api/still?film=broken.mp4")  # a sign, not an error: it is one of a list
    assert still.headers["content-type"] == "image/svg+xml"


def test_films_come_in_whole_under_a_free_name(served, root):
    content = (root / "talk.mp4").read_bytes()
    names = [json.loads(served.upload("../new film.MP4", content).body)["name"] for _ in range(2)]
    assert names == ["new film.mp4", "new film-2.mp4"]
    for name in names:
        assert (root / name).read_bytes() == content
        (root / name).unlink()
    assert (root / "talk.mp4").read_bytes() == content


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", b"hello", "a.txt: is not called like a film"),
        ("a.mp4", b"hello " * 99, "a.mp4: is not a readable video"),
        ("a.mp4", b"", "a.mp4: is empty"),
        ("a.mkv", b"ffconcat version 1.0\nfile talk.mp4\n", "a.mkv: "),
    ],
)
def test_what_is_no_film_does_not_come_in(served, root, name, content, words):
    before = sorted(root.iterdir())
    answer = served.upload(name, content)
    assert answer.status == 400
    message = json.loads(answer.body)["message"]
    assert message.startswith(words)
    assert "/" not in message
    assert sorted(root.iterdir()) == before


def test_a_film_that_is_broken_off_leaves_nothing(served, root):
    before = sorted(root.iterdir())
    connection = HTTPConnection(served.address)
    connection.putrequest("PUT", f"{served.base}api/films?name=a.mp4")
    for header, value in (("X-Facerestore", "1"), ("Origin", f"http://{served.address}"),
                          ("Content-Length", "100000")):  # fmt: skip
        connection.putheader(header, value)
    connection.endheaders(b"begun")
    time.sleep(0.2)
    connection.close()
    time.sleep(0.3)
    assert sorted(root.iterdir()) == before
    hidden = next(root.glob(".serve-*"))
    assert not list(hidden.glob("upload-*"))


def test_a_mask_that_was_drawn_is_kept_beside_the_film(served, root):
    sheet = np.zeros((144, 192), np.uint8)
    assert served.ask("POST", "api/masks?film=talk.mp4", body=_png(sheet)).status == 400  # no hole
    assert served.ask("POST", "api/masks?film=talk.mp4", body=b"GIF89a").status == 400
    sheet[50:90, 40:80] = 255
    names = {
        json.loads(served.ask("POST", "api/masks?film=talk.mp4", body=_png(sheet)).body)["name"]
        for _ in range(2)
    }
    (name,) = names
    assert name.startswith("talk.mask-")
    assert name in served.json("api/folder")["pictures"]
    assert np.array_equal(cv2.imread(str(root / name), cv2.IMREAD_UNCHANGED), sheet)
    (root / name).unlink()


def _png(picture):
    return cv2.imencode(".png", picture)[1].tobytes()


def test_a_preview_shows_three_seconds_before_and_after(served, tmp_path):
    ticket = json.loads(served.post("api/preview?at=2.9", {"film": "talk.mp4"}).body)
    assert ticket["start"] == pytest.approx(0.2)  # the last three of 3.2
    done = served.over(ticket["number"])
    assert done["status"] == "done", done
    assert done["shown"]
    assert "75 frames" in done["message"]
    place = f"previews/{ticket['number']}/"
    page = served.get(place)
    assert "frame-ancestors 'self'" in page.headers["content-security-policy"]
    films = [decoded(served.get(f"{place}{which}.mp4").body, tmp_path / f"{which}.mp4")
             for which in ("before", "after")]  # fmt: skip
    assert [len(film) for film in films] == [75, 75]
    assert np.abs(films[0][9].astype(int) - films[1][9]).max() > 30  # the face
    assert served.get("previews/99/").status == 404
    assert served.get(f"{place}facts.json").status == 404


def test_a_film_is_restored_with_its_report(served, root):
    ticket = json.loads(served.post("api/restore", {"film": "below/ü #1 &.mp4"}).body)
    done = served.over(ticket["number"])
    assert done["status"] == "done", done
    assert done["output"] == "below/ü #1 &.restored.mp4"
    assert (root / done["output"]).exists()
    assert (root / f"{done['output']}.facerestore.json").exists()
    assert done["report"] == f"{done['output']}.report.html"
    film = next(f for f in served.json("api/folder")["films"] if f["name"] == done["output"])
    assert film["made"]
    assert film["report"] == done["report"]
    again = json.loads(served.post("api/restore", {"film": "below/ü #1 &.mp4"}).body)
    assert "done before" in served.over(again["number"])["message"]
    other = {"film": "below/ü #1 &.mp4", "strength": 0.5}
    failed = served.over(json.loads(served.post("api/restore", other).body)["number"])
    assert "exists already, made in another way" in failed["message"]
    replaced = json.loads(served.post("api/restore", other | {"overwrite": True}).body)
    assert served.over(replaced["number"])["status"] == "done"


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"film": "talk.mp4", "tasks": ""}, "no task given"),
        ({"film": "talk.mp4", "tasks": "polish"}, "unknown task 'polish'"),
        ({"film": "talk.mp4", "tasks": "inpaint"}, "inpaint needs a mask"),
        ({"film": "talk.mp4", "profile": "huge"}, "unknown profile"),
        ({"film": "talk.mp4", "strength": 2}, "outside 0..1"),
        ({"film": "talk.mp4", "strength": "x"}, "not understood"),
        ({"film": "talk.mp4", "faces": "mine"}, "faces 'mine'"),
        ({"film": "talk.mp4", "model": "classic"}, "is not installed here"),
        ({"film": "broken.mp4"}, "broken.mp4: is not a readable video"),
        ({}, "not understood"),
    ],
)
def test_wishes_that_cannot_be_are_answered_at_once(served, wish, words):
    answer = served.post("api/restore", wish)
    assert answer.status in (400, 404)
    assert words in json.loads(answer.body)["message"]


def test_a_crash_costs_one_film(served, root):
    cheap.film_of(root / "crash.mp4", frames=6, size=(256, 64))
    ticket = json.loads(served.post("api/restore", {"film": "crash.mp4"}).body)
    failed = served.over(ticket["number"])
    assert failed["status"] == "failed"
    assert failed["message"].startswith("crash.mp4: its process crashed")
    (root / "crash.mp4").unlink()


def test_stopped_films_go_on_and_the_end_is_clean(tmp_path):
    films = [cheap.film_of(tmp_path / f"{n}.mp4", frames=300).name for n in (1, 2)]
    process, client = begin(tmp_path, seconds=0.25)
    first, second = (
        json.loads(client.post("api/restore", {"film": name}).body)["number"] for name in films
    )
    assert client.post("api/restore", {"film": films[0]}).status == 400  # in the queue already
    assert client.ticket(second)["status"] == "waiting"
    work = tmp_path / ".1.restored.mp4.facerestore"
    while not list(work.glob("*.packets")) or len(list(work.glob("0*.json"))) < 1:
        assert client.ticket(first)["status"] in ("waiting", "working")
        time.sleep(0.05)
    assert client.ticket(first)["step"]["stage"] == "restoring"
    assert client.ask("DELETE", f"api/queue/{second}").status == 200
    assert client.ticket(second)["status"] == "stopped"
    assert client.ask("DELETE", f"api/queue/{first}").status == 200
    assert "it goes on" in client.over(first)["message"]
    assert not (tmp_path / "1.restored.mp4").exists()

    again = json.loads(client.post("api/restore", {"film": films[0]}).body)["number"]
    going = client.until(again, lambda one: any("going on" in note for note in one["notes"]))
    assert going["status"] == "working"
    helpers = psutil.Process(process.pid).children(recursive=True)
    assert helpers
    assert end(process) == ""
    _, left = psutil.wait_procs(helpers, timeout=10)  # Python's own end a moment later
    assert all(one.status() == psutil.STATUS_ZOMBIE for one in left)
    assert work.is_dir()  # what is finished is kept
    assert not list(tmp_path.glob(".serve-*"))


def test_what_a_killed_server_left_is_cleared_away(tmp_path):
    begun = "import os, sys, pathlib; from facerestore.serve.scratch import scratch_in; "
    begun += "it = scratch_in(pathlib.Path(sys.argv[1])); it.__enter__(); os._exit(9)"
    assert subprocess.run([sys.executable, "-c", begun, str(tmp_path)]).returncode == 9
    (left,) = tmp_path.glob(".serve-*")
    with scratch_in(tmp_path) as ours:
        assert ours.is_dir()
        assert not left.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_preview_is_part_of_what_would_be_restored(root):
    whole = options_of(Wish("talk.mp4", strength=0.5), root)
    assert whole.report
    part = preview_of(whole, 1.5, 100.0)
    assert (part.start_seconds, part.end_seconds, part.strength) == (1.5, 4.5, 0.5)
    assert preview_of(whole, 99.0, 100.0).start_seconds == 97
    assert preview_of(whole, 9.0, 2.0).start_seconds == 0
    assert preview_of(whole, 9.0, 0.0).start_seconds == 9


def command(*arguments):
    program = [sys.executable, "-m", "facerestore", "serve", *map(str, arguments)]
    return subprocess.run(program, capture_output=True, text=True, timeout=120)


def test_the_command_says_what_is_wrong(tmp_path):
    done = command(tmp_path / "nothing")
    assert done.returncode == 3
    assert "is not a folder" in done.stderr
    code = "import sys; sys.modules['uvicorn'] = None; import facerestore.cli as c; c.main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "serve", str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "pip install 'facerestore[serve]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_command_serves_and_warns_of_other_machines(tmp_path):
    program = [sys.executable, "-m", "facerestore", "serve", str(tmp_path), "--port", "0"]
    process = subprocess.Popen(
        [*program, "--host", "0.0.0.0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline().startswith("http://127.0.0.1:")
    said = end(process)
    assert "lets other machines in" in said
    assert "Ctrl-C ends it" in said
