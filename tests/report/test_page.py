"""The page in a real browser: what moves, what keys do, what everybody can read.

Screenshots go to the folder $FACERESTORE_SCREENSHOTS, if it is set, to be looked at.
"""

import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from browsing import CONTRASTS, NAMELESS, until
from facerestore.report.report import compare

FRAMES, RATE, WIDTH, HEIGHT = 60, 25, 192, 144
DESKTOP, PHONE, LARGE = (1440, 900), (390, 844), (3840, 2160)
LEVEL = """film => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [8, 8];
    canvas.getContext("2d").drawImage(document.getElementById(film), 0, 0, 8, 8);
    return canvas.getContext("2d").getImageData(4, 4, 1, 1).data[1];
}"""
RING = """() => {
    const split = document.activeElement.id === "split";  // it is covered by the knob
    const node = split ? document.querySelector(".knob") : document.activeElement;
    return getComputedStyle(node).outlineStyle;
}"""


def write_film(path, levels, *, first=0):
    """A film of flat pictures with these levels, so that a pixel tells the frame's number.

    first: when it begins, in frames
    """
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=RATE, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number, level in enumerate(levels, start=first):
            picture = np.full((HEIGHT, WIDTH, 3), level, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


OLD = [20 + round(3.3 * n) for n in range(FRAMES)]
NEW = [255 - n // 4 if n in (21, 23) else level + 10 for n, level in enumerate(OLD)]


@pytest.fixture(scope="module")
def page(tmp_path_factory, instruments):
    folder = tmp_path_factory.mktemp("page")
    films = (
        write_film(folder / 'before <b>&"1".mp4', OLD),
        write_film(folder / "after.mp4", NEW, first=20),
    )
    return compare(*films, folder / "report #1.html", instruments=instruments)


@pytest.fixture
def opened(browser, page):
    """A function that opens the page; whatever the console or the network says fails the test."""
    contexts, said = [], []

    def open_page(size=DESKTOP, *, path=page):
        context = browser.new_context(viewport={"width": size[0], "height": size[1]})
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("request", lambda r: r.url.startswith("http") and said.append(r.url))
        tab.goto(Path(path).as_uri())
        until(tab, "before.readyState >= 2 && after.readyState >= 2")
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert said == []


def settled(tab):
    """Wait until both films show what was sought."""
    until(tab, "!before.seeking && !after.seeking")


def shown(tab):
    """Frame numbers that the pixels of both films tell."""
    settled(tab)
    last = None
    for _ in range(100):  # the picture follows the seek by a moment
        tab.wait_for_timeout(60)
        seen = [tab.evaluate(LEVEL, name) for name in ("before", "after")]
        if seen == last:
            break
        last = seen
    return [int(np.abs(np.array(levels) - level).argmin())
            for levels, level in zip((OLD, NEW), seen, strict=True)]  # fmt: skip


def clock(tab):
    return tab.locator("#clock").inner_text()


def test_the_divider_follows_the_mouse_and_the_keys(opened):
    tab = opened()
    box = tab.locator("#picture").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    tab.mouse.move(x, y)
    tab.mouse.down()
    tab.mouse.move(box["x"] + box["width"] / 4, y, steps=4)
    tab.mouse.up()
    split = float(tab.locator("#split").input_value())
    assert split == pytest.approx(25, abs=1.5)
    clipped = tab.locator("#before").evaluate("node => getComputedStyle(node).clipPath")
    assert f"{split:g}%" in clipped or f"{100 - split:g}%" in clipped
    line = tab.locator(".picture .line").bounding_box()
    assert line["x"] - box["x"] == pytest.approx(box["width"] / 4, abs=8)
    tab.locator("#split").focus()
    tab.keyboard.press("ArrowRight")
    assert float(tab.locator("#split").input_value()) == split + 0.5
    assert "frame 0 " in clock(tab)


def test_both_films_seek_together_to_the_very_frame(opened):
    tab = opened()
    for frame in (0, 7, 59, 33):
        tab.locator("#time").evaluate(
            "(node, to) => { node.value = to; node.dispatchEvent(new Event('input')); }", frame
        )
        assert shown(tab) == [frame, frame]
        assert f"frame {frame} " in clock(tab)


def test_keys_step_play_and_zoom(opened):
    tab = opened()
    for _ in range(3):
        tab.keyboard.press("ArrowRight")
    tab.keyboard.press("ArrowLeft")
    assert shown(tab) == [2, 2]
    tab.keyboard.press("Space")
    until(tab, "!after.paused && before.currentTime > 0.5")
    until(tab, "Math.abs(before.currentTime - after.currentTime + newFilm.begins) < 0.3")
    tab.keyboard.press("Space")
    assert tab.evaluate("before.paused && after.paused")
    first, second = shown(tab)
    assert first == second > 5
    tab.keyboard.press("1")
    assert tab.locator("#picture").bounding_box()["width"] == WIDTH
    assert tab.locator("#zoom").get_attribute("aria-pressed") == "true"
    tab.keyboard.press("1")
    assert tab.locator("#picture").bounding_box()["width"] > WIDTH
    for key in ("←", "→", "space", "1"):
        assert tab.locator("kbd", has_text=key).is_visible()


def test_it_stops_at_the_end_and_begins_again(opened):
    tab = opened()
    tab.evaluate("goTo(57)")
    tab.keyboard.press("Space")
    until(tab, "before.paused && after.paused")
    assert shown(tab) == [59, 59]
    tab.keyboard.press("Space")
    until(tab, "!after.paused && before.currentTime < 0.5")


def test_warnings_plots_and_film_strips_jump(opened):
    tab = opened()
    warning = tab.locator("#warnings li", has_text="eyes").first
    warning.locator("button").click()
    frame = shown(tab)[0]
    assert 19 <= frame <= 24
    assert tab.evaluate("document.activeElement.id") == "stage"
    drawing = tab.locator(".plot").first
    box = drawing.bounding_box()
    drawing.click(position={"x": box["width"] / 2, "y": 20})
    assert abs(shown(tab)[0] - FRAMES // 2) <= 1
    tab.locator(".tiles button").first.click()
    assert shown(tab)[0] in (FRAMES // 16, FRAMES // 16 + 1)
    tab.locator("#shots td button").first.click()
    assert shown(tab) == [0, 0]


def test_names_are_shown_as_they_are(opened):
    tab = opened()
    assert tab.locator("h1").inner_text() == 'before <b>&"1".mp4 → after.mp4'
    assert tab.locator("#details", has_text='before <b>&"1".mp4').count() == 1
    assert tab.title() == 'before <b>&"1".mp4 → after.mp4'


@pytest.mark.parametrize("size", [DESKTOP, PHONE, LARGE])
def test_it_fits_every_screen_and_everybody_can_read_it(opened, size):
    tab = opened(size)
    assert tab.evaluate("document.documentElement.scrollWidth") <= size[0]
    assert tab.evaluate(NAMELESS) == []
    small = "[...document.querySelectorAll('.controls button')].map(b => b.clientHeight)"
    assert min(tab.evaluate(small)) >= 34
    folder = os.environ.get("FACERESTORE_SCREENSHOTS")
    for scheme in ("light", "dark"):
        tab.emulate_media(color_scheme=scheme)
        assert tab.evaluate(CONTRASTS) == []
        if folder:
            tab.screenshot(path=Path(folder, f"{size[0]}-{scheme}.png"), full_page=size == PHONE)


def test_the_focus_is_seen_and_reaches_everything(opened):
    tab = opened()
    seen = []
    for _ in range(12):
        tab.keyboard.press("Tab")
        seen.append(tab.evaluate("document.activeElement.id || document.activeElement.className"))
        ring = tab.evaluate(RING)
        assert ring == "solid", seen
    assert {"stage", "split", "time", "back", "play", "forth", "zoom"} <= set(seen)


def test_films_beside_the_page_are_found(opened, tmp_path, instruments, monkeypatch):
    monkeypatch.setattr("facerestore.report.media.MOST_BYTES", 0)
    films = [
        write_film(tmp_path / "a #1 <&>?.mp4", OLD[:6]),
        write_film(tmp_path / "b.mp4", NEW[:6], first=20),
    ]
    beside = compare(*films, tmp_path / "r.html", instruments=instruments)
    tab = opened(path=beside)
    tab.keyboard.press("ArrowRight")
    settled(tab)
    assert tab.evaluate("[before.currentTime, after.currentTime]") == pytest.approx([0.06, 0.86])


def test_a_film_that_is_gone_is_said(browser, tmp_path, instruments, monkeypatch):
    monkeypatch.setattr("facerestore.report.media.MOST_BYTES", 0)
    films = [write_film(tmp_path / name, OLD[:4]) for name in ("a.mp4", "b.mp4")]
    beside = compare(*films, tmp_path / "r.html", instruments=instruments)
    films[0].unlink()
    tab = browser.new_page()
    tab.goto(beside.as_uri())
    tab.locator("#trouble").wait_for()
    assert (
        "a.mp4 cannot be shown here; keep it where it was" in tab.locator("#trouble").inner_text()
    )
    tab.close()
