"""The site as mkdocs builds it: whole, from the program as it is, and without the network."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
import typer
from making import ROOT
from reading import made_pages

import facerestore
from facerestore.cli import app


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The built site; strict, so that a dead link or an unlisted page fails it."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class Fetched(HTMLParser):
    """What a page asks for, and pictures that say nothing to those who cannot see them."""

    def __init__(self):
        super().__init__()
        self.addresses, self.silent = [], []

    def handle_starttag(self, tag, attrs):
        facts = dict(attrs)
        if tag in ("script", "img", "iframe", "source", "video"):
            self.addresses.append(facts.get("src") or "")
        if tag == "link" and facts.get("rel") != "canonical":
            self.addresses.append(facts.get("href") or "")
        if tag == "img" and not facts.get("alt"):
            self.silent.append(facts)


def test_no_page_asks_the_network_for_anything(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        parser = Fetched()
        parser.feed(page.read_text("utf-8"))
        assert not [a for a in parser.addresses if a.startswith(("http:", "https:", "//"))], page
        assert not parser.silent, page


def test_the_reference_has_every_command_and_option():
    text = made_pages().command_line()
    for name, command in made_pages().commands(typer.main.get_command(app), "facerestore"):
        assert f"## `{name}`" in text
        part = text.split(f"## `{name}`\n")[1].split("\n## ")[0]
        for param in command.params:
            if param.param_type_name == "option":
                assert all(option in part for option in (*param.opts, *param.secondary_opts))
            else:
                assert (param.metavar or param.name).lower() in part.lower()


def test_the_python_page_has_every_public_name():
    text = made_pages().python()
    for name in facerestore.__all__:
        assert name.startswith("__") or f"`{name}`" in text


def test_the_model_card_is_on_the_site(site):
    page = (site / "model-cards.html").read_text("utf-8")
    assert "the card of mini" not in page
    assert "831 synthetic" in page


def test_links_of_the_readme_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)", (ROOT / "README.md").read_text("utf-8")):
        assert target.startswith("https:") or (ROOT / target).exists(), target
