"""Every command and every Python snippet of the documentation is run; see exceptions.py."""

import os
import re
import shlex
import subprocess
import sys

import pytest
import typer
from exceptions import INSTEAD, NOT_RUN
from reading import FIRST, OTHER, PYTHON, SHELL, blocks, commands, snippets, texts
from typer.testing import CliRunner

from facerestore.cli import app

PAGES = texts()
FOUND = {page: list(commands(page, text)) for page, text in PAGES.items()}
EVERY = [command for found in FOUND.values() for command in found]
TIME_LIMIT = 600  # seconds for a command in a process of its own: machines may be busy
SIMPLE = re.compile(r"facerestore [^&|;<>$*?]*")


def reason_not_to_run(text):
    """Why a command is not run; None where it is."""
    return next((why for pattern, why in NOT_RUN.items() if re.fullmatch(pattern, text)), None)


def is_mention(command):
    """Whether a sentence only names a command: `facerestore models`."""
    return command.inline and not any(
        len(words) > len([w for w in words if w.isalpha() and w.islower()])
        for words in command.calls
    )


def without_callbacks(command):
    """The command line, complete, but doing nothing."""
    if command.callback is not None:
        command.callback = lambda *args, **how: None
    for below in getattr(command, "commands", {}).values():
        without_callbacks(below)
    return command


def parsed(words):
    """Let the real command line parse arguments; raises its error for what it does not take."""
    line = without_callbacks(typer.main.get_command(app))
    try:
        line.main(list(words), prog_name="facerestore", standalone_mode=False)
    except SystemExit as end:
        assert not end.code, words


@pytest.mark.parametrize("page", [page for page, found in FOUND.items() if found])
def test_the_command_line_takes_every_command(page):
    for command in FOUND[page]:
        for words in command.calls:
            if is_mention(command):
                words = [*words, "--help"]
            try:
                parsed(words)
            except Exception as error:
                pytest.fail(f"{page}: `{command.text}`: {error}")


@pytest.mark.timeout(3 * TIME_LIMIT)
@pytest.mark.parametrize("page", [page for page, found in FOUND.items() if found])
def test_commands_do_what_the_page_says(page, folder):
    """In the order of the page, in one folder, so that a command finds what those above it made."""
    done = set()
    for command in FOUND[page]:
        text = INSTEAD.get(command.text, command.text)
        if is_mention(command) or reason_not_to_run(command.text):
            continue
        if command.inline and text in done:
            continue
        done.add(text)
        code, output = run(text)
        assert code == 0, f"{page}: `{command.text}` ended with {code}:\n{output[-2000:]}"


def run(text):
    """Exit code and output of a command: here where it is a plain one, else by a shell."""
    if SIMPLE.fullmatch(text):
        result = CliRunner().invoke(app, shlex.split(text)[1:])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.output
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
        stdin=subprocess.DEVNULL,
        env=os.environ | {"PYTHON": sys.executable},
    )
    return done.returncode, done.stdout + done.stderr


SNIPPETS = [(page, code) for page, text in PAGES.items() for code in snippets(page, text)]


@pytest.mark.parametrize(("page", "code"), SNIPPETS, ids=[page for page, _ in SNIPPETS])
def test_python_runs(page, code, folder):
    if "master.mkv" in code:
        run("facerestore restore film.mp4 -o master.mkv --profile archive")
    exec(compile(code, page, "exec"), {"__name__": "snippet"})


@pytest.mark.parametrize("page", PAGES)
def test_every_block_says_what_it_is(page):
    """So that no command hides in a block that nobody runs."""
    for block in blocks(page, PAGES[page]):
        known = (*SHELL, *PYTHON, *OTHER)
        assert not block.language or block.language in known, f"{page}: ```{block.language}"
        if block.language in OTHER:
            firsts = {line.split()[0] for line in block.lines if line.split()}
            usage = page.startswith("python.md")
            assert usage or not firsts & set(FIRST), (
                f"{page}: a command in a block of text: {firsts}"
            )


def test_exceptions_are_of_use():
    """What no page says any more is taken out of the lists."""
    said = {command.text for command in EVERY}
    unused = [text for text in INSTEAD if text not in said]
    unused += [p for p in NOT_RUN if not any(re.fullmatch(p, text) for text in said)]
    assert not unused
    for text in INSTEAD.values():
        assert not reason_not_to_run(text)
