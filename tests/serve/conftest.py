"""A folder of small films, what must not be seen of it, and a server of it."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

import cheap
from serving import begin, end

SECRET = b"CLASSIFIED"  # what no answer may hold


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The served folder; beside it lies what must never be seen."""
    above = tmp_path_factory.mktemp("above")
    (above / "secret.mp4").write_bytes(SECRET)
    folder = above / "films"
    cheap.film_of(folder / "talk.mp4", frames=80)
    cheap.film_of(folder / "below" / "ü #1 &.mp4", frames=10)
    cheap.film_of(folder / ".hidden" / "work.mp4", frames=4)
    (folder / ".hidden.mp4").write_bytes(SECRET)
    (folder / "notes.txt").write_bytes(SECRET)
    (folder / "page.html").write_bytes(SECRET)
    (folder / "broken.mp4").write_bytes(b"hello " * 99)
    (folder / "out.mp4").symlink_to(above / "secret.mp4")
    (folder / "up").symlink_to(above)
    (folder / "sly.mp4").symlink_to(folder / ".hidden" / "work.mp4")
    return folder


@pytest.fixture(scope="module")
def served(root):
    """A client of a server of `root`; it must end with exit code 0 and nothing on stderr."""
    process, client = begin(root)
    yield client
    said = end(process)
    assert said == ""
    assert not list(root.glob(".serve-*"))
