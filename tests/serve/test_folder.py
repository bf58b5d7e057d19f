"""Names that come from a browser: where they lead, and what is made of them."""

import os
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from facerestore.errors import UsageError
from facerestore.films import SUFFIXES
from facerestore.serve.folder import (
    LONGEST_STEM,
    NotThereError,
    check_ours,
    clean_name,
    films_in,
    free_path,
    inside,
    served_kind,
)

OUTSIDE = [
    "../secret.mp4",
    "below/../../secret.mp4",
    "/etc/passwd",
    "//etc/passwd",
    "up/secret.mp4",
    "out.mp4",
    "sly.mp4",
    ".hidden.mp4",
    ".hidden/work.mp4",
    "below",
    "nothing.mp4",
    "",
    "..",
    "C:/secret.mp4",
    "..\\secret.mp4",
    "talk.mp4\x00.png",
]


@pytest.mark.parametrize("name", OUTSIDE)
def test_what_leads_out_or_is_hidden_is_not_there(root, name):
    with pytest.raises(NotThereError, match="no such file"):
        inside(root.resolve(), name)


@given(name=st.text(alphabet="./\\a\x00%:~ é", max_size=12))
def test_no_name_leads_out(tmp_path_factory, name):
    folder = tmp_path_factory.getbasetemp() / "law"
    folder.mkdir(exist_ok=True)
    (folder / "a").touch()
    try:
        found = inside(folder.resolve(), name)
    except NotThereError:
        return
    assert found.is_relative_to(folder.resolve())


def test_films_and_their_pages_are_served_and_nothing_else(root):
    real = root.resolve()
    (root / "talk.mp4.report.html").write_text("page")
    assert served_kind(real, "talk.mp4")[1] == "video/mp4"
    assert served_kind(real, "talk.mp4.report.html")[1].startswith("text/html")
    (root / "talk.mp4.report.html").unlink()
    for name in ("notes.txt", "page.html", "talk.mp4.facerestore.json"):
        with pytest.raises(NotThereError):
            served_kind(real, name)


def test_the_list_has_what_may_be_seen(root):
    entries, more = films_in(root.resolve())
    assert [entry.name for entry in entries] == ["broken.mp4", "talk.mp4", "below/ü #1 &.mp4"]
    assert not more


@pytest.mark.parametrize(
    ("given_name", "stored"),
    [
        ("film.MP4", "film.mp4"),
        ("../../etc/film.mp4", "film.mp4"),
        ("C:\\films\\film.mov", "film.mov"),
        (".hidden.mkv", "hidden.mkv"),
        ("a<b>:c?.avi", "a_b__c_.avi"),
        ("con.mp4", "_con.mp4"),
        ("é" * 200 + ".mp4", "é" * 60 + ".mp4"),
        (unicodedata.normalize("NFD", "Füße.mp4"), "Füße.mp4"),
    ],
)
def test_names_are_made_harmless(given_name, stored):
    assert clean_name(given_name) == stored


@pytest.mark.parametrize("name", ["", "film", "film.exe", ".mp4", "film.mp4.html", "..", "/"])
def test_what_is_not_called_like_a_film_is_refused(name):
    with pytest.raises(UsageError, match="not called like a film"):
        clean_name(name)


@given(name=st.text(max_size=300), suffix=st.sampled_from(sorted(SUFFIXES)))
@example(name="x" * (LONGEST_STEM - 1) + " y", suffix=".mp4")  # cut behind the blank
def test_a_clean_name_is_one_plain_visible_name(name, suffix):
    try:
        clean = clean_name(name + suffix)
    except UsageError:
        return
    assert clean == os.path.basename(clean)
    assert not clean.startswith(".")
    assert "\x00" not in clean
    assert len(os.fsencode(clean)) < 140
    assert clean_name(clean) == clean


def test_a_name_that_is_taken_gets_a_number(tmp_path):
    for expected in ("a.mp4", "a-2.mp4", "a-3.mp4"):
        path = free_path(tmp_path, "a.mp4")
        assert path.name == expected
        path.touch()
    (tmp_path / "b.mp4").symlink_to(tmp_path / "nothing")
    assert free_path(tmp_path, "b.mp4").name == "b-2.mp4"


def test_results_do_not_follow_links(tmp_path):
    check_ours(tmp_path / "o.mp4")
    (tmp_path / ".o.mp4.facerestore").symlink_to(tmp_path.parent)
    with pytest.raises(UsageError, match="is a link"):
        check_ours(tmp_path / "o.mp4")
