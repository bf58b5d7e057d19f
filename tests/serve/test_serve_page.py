"""The page in a real browser: from a film that is dropped on it to its report.

Screenshots go to the folder $FACERESTORE_SCREENSHOTS, if it is set, to be looked at.
"""

import os
import shutil
from base64 import b64encode
from pathlib import Path

import pytest

import cheap
from browsing import CONTRASTS, NAMELESS, until
from conftest import EXAMPLE
from serving import begin, end

DESKTOP, PHONE = (1440, 900), (390, 844)
PATIENCE_MS = 300_000
DROP = """([name, content]) => {
    const bytes = Uint8Array.from(atob(content), letter => letter.charCodeAt(0));
    const carried = new DataTransfer();
    carried.items.add(new File([bytes], name));
    const how = { dataTransfer: carried, bubbles: true, cancelable: true };
    for (const kind of ["dragenter", "dragover", "drop"])
        document.body.dispatchEvent(new DragEvent(kind, how));
}"""
SLIDE = "(node, to) => { node.value = to; node.dispatchEvent(new Event('input')); }"
RING = "() => getComputedStyle(document.activeElement).outlineStyle"


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """The served folder, with a film that no browser plays and one that is none."""
    folder = tmp_path_factory.mktemp("films")
    (folder / "broken.mp4").write_bytes(b"hello " * 99)
    shutil.copy(EXAMPLE, folder / "old clip.mp4")
    return folder


@pytest.fixture(scope="module")
def page_url(films):
    process, client = begin(films)
    yield client.url
    assert end(process) == ""


@pytest.fixture
def opened(browser, page_url):
    """A function that opens the page; whatever the console says fails the test, but `allowed`."""
    contexts, said, allowed = [], [], []

    def open_page(size=DESKTOP, *, allow=()):
        allowed.extend(allow)
        context = browser.new_context(viewport={"width": size[0], "height": size[1]})
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("request", lambda r: said.append(r.url) if _elsewhere(r.url, page_url) else None)
        tab.goto(page_url)
        tab.locator(".film").first.wait_for()
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert [text for text in said if not any(words in text for words in allowed)] == []


def _elsewhere(url, page_url):
    return url.startswith("http") and not url.startswith(page_url)


def shot(tab, name):
    folder = os.environ.get("FACERESTORE_SCREENSHOTS")
    for scheme in ("dark", "light") if folder else ():
        tab.emulate_media(color_scheme=scheme)
        tab.wait_for_timeout(150)
        tab.screenshot(path=Path(folder, f"serve-{name}-{scheme}.png"), full_page=True)


def test_from_a_dropped_film_to_its_report(opened, films, tmp_path):
    """Drop, look, choose tasks, draw a mask, preview, start, watch, read the report."""
    tab = opened()
    film = cheap.film_of(tmp_path / "home film.mp4", frames=90)
    tab.evaluate(DROP, ["home film.mp4", b64encode(film.read_bytes()).decode()])
    tab.locator("#film-name", has_text="home film.mp4").wait_for()
    assert (films / "home film.mp4").read_bytes() == film.read_bytes()
    until(tab, "video.readyState >= 2")
    tab.locator("#time").evaluate(SLIDE, 0.4)
    assert tab.locator("#clock").inner_text() == "0:00.40 of 0:03.60"

    tab.get_by_label("Fill holes").check()
    tab.get_by_role("button", name="Preview 3 s at the cursor").click()
    assert "The mask is empty" in tab.locator("#alarm").inner_text()
    box = tab.locator("#mask").bounding_box()
    tab.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + box["height"] * 0.4)
    tab.mouse.down()
    tab.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.5, steps=3)
    tab.mouse.up()
    tab.get_by_role("button", name="Preview 3 s at the cursor").click()
    player = tab.frame_locator("#frame")
    player.locator("#clock", has_text="frame 0 of 0").wait_for(timeout=PATIENCE_MS)
    assert len(list(films.glob("home film.mask-*.png"))) == 1
    frame = next(one for one in tab.frames if "/previews/" in one.url)
    until(frame, "before.readyState >= 2 && after.readyState >= 2")
    player.locator("#forth").click()
    assert "frame 1 " in player.locator("#clock").inner_text()
    tab.locator("#queue li", has_text="3 s from 0:00.40").wait_for()
    shot(tab, "preview")

    tab.get_by_role("button", name="Restore the film").click()
    row = tab.locator("#queue li").first
    row.locator("progress").wait_for(timeout=PATIENCE_MS)
    shot(tab, "working")
    row.locator("p.done").wait_for(timeout=PATIENCE_MS)
    assert "90 frames, 1 person" in row.locator("p.done").inner_text()
    report = tab.frame_locator("#frame.report")
    report.locator("#title", has_text="home film.restored.mp4").wait_for()
    report.locator("#people .person").wait_for()
    frame = next(one for one in tab.frames if one.url.endswith(".report.html"))
    until(frame, "before.readyState >= 2 && after.readyState >= 2")
    assert frame.evaluate("self.origin") == "null"  # whoever wrote it: it gets no origin
    shot(tab, "report")
    with tab.expect_download() as waited:
        tab.get_by_role("link", name="Download the film").click()
    assert waited.value.path().read_bytes() == (films / "home film.restored.mp4").read_bytes()
    assert tab.locator(".film", has_text="restored").is_visible()
    tab.locator("#result-close").click()
    assert tab.locator("#result").is_hidden()


def test_a_film_that_browsers_do_not_play(opened, films, make_film):
    os.replace(make_film("archive.mkv", count=16), films / "archive.mkv")
    tab = opened()
    tab.locator(".film", has_text="archive.mkv").click()
    until(tab, "still.naturalWidth === 640 && !still.hidden")
    assert "small copy" in tab.locator("#copy").inner_text()
    first = tab.evaluate("still.src")
    tab.locator("#forth").click()
    until(tab, f"still.src !== {first!r} && still.complete")
    tab.locator("#play").click()
    until(tab, "film.clip === 0 && video.ended || film.at > 0.5")
    until(tab, "!film.playing")
    assert tab.locator("#clock").inner_text() == "0:00.60 of 0:00.64"


def test_what_goes_wrong_is_said(opened):
    tab = opened(allow=["400 (Bad Request)"])
    tab.locator(".film", has_text="broken.mp4").click()
    tab.locator("#alarm", has_text="broken.mp4: is not a readable video").wait_for()
    assert tab.locator("#start").is_disabled()
    tab.evaluate(DROP, ["letter.txt", b64encode(b"hello").decode()])
    tab.locator("#alarm", has_text="letter.txt: is not called like a film").wait_for()


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_it_fits_every_screen_and_everybody_can_read_it(opened, size):
    tab = opened(size)
    shot(tab, f"start-{size[0]}")
    tab.locator(".film", has_text="old clip.mp4").click()
    tab.get_by_label("Fill holes").check()
    until(tab, "video.readyState >= 2")
    assert tab.evaluate("document.documentElement.scrollWidth") <= size[0]
    assert tab.evaluate(NAMELESS) == []
    for scheme in ("light", "dark"):
        tab.emulate_media(color_scheme=scheme)
        assert tab.evaluate(CONTRASTS) == []
    small = "[...document.querySelectorAll('button, select')].filter(b => b.checkVisibility())"
    assert min(tab.evaluate(f"{small}.map(b => b.clientHeight)")) >= 30
    shot(tab, f"film-{size[0]}")


def test_keys_reach_everything_and_paint(opened):
    tab = opened()
    tab.locator(".film", has_text="old clip.mp4").click()
    tab.get_by_label("Fill holes").check()
    seen = set()
    tab.locator("#choose").focus()
    for _ in range(30):
        seen.add(tab.evaluate("document.activeElement.id || document.activeElement.className"))
        tab.keyboard.press("Tab")
        ids = "document.activeElement.matches('body, #choose, [name=task], [type=range]')"
        assert tab.evaluate(ids) or tab.evaluate(RING) in ("solid", "auto")
    wanted = {"choose", "film", "mask", "time", "play", "mask-from", "brush", "erase", "strength",
              "faces", "profile", "model", "overwrite", "preview", "start"}  # fmt: skip
    assert wanted <= seen
    tab.locator("#mask").focus()
    for key in ("ArrowRight", "ArrowDown", "Space"):
        tab.keyboard.press(key)
    assert tab.evaluate("strokes.length") == 1
    tab.locator("#undo").click()
    assert tab.evaluate("strokes.length") == 0
    tab.locator("#stage").click(position={"x": 5, "y": 5})
    tab.get_by_label("Fill holes").uncheck()
    tab.locator("#folder").click()
    tab.keyboard.press("ArrowRight")
    assert tab.locator("#clock").inner_text().startswith("0:00.04")
