"""Reads the commands and the Python snippets of the documentation."""

from __future__ import annotations

import importlib.util
import re
import shlex
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "examples" / "README.md",
    ROOT / "src" / "facerestore" / "assets" / "mini" / "README.md",
]
SHELL, PYTHON = ("bash", "sh", "shell", "console"), ("python", "py")
OTHER = ("text", "toml", "json", "html")  # what may stand in a block and is no command
FIRST = (  # words that a line of shell begins with
    *("facerestore", "python", "python3", "pip", "git", "bash", "curl"),
    *("tensorboard", "accelerate", "ray", "docker"),
)


@dataclass(frozen=True)
class Command:
    """A command of a page; inline: it stands in a sentence, not in a block of its own."""

    page: str
    text: str
    inline: bool = False

    @property
    def parts(self) -> list[list[str]]:
        """Words of each simple command in it."""
        found: list[list[str]] = [[]]
        reader = shlex.shlex(self.text, posix=True, punctuation_chars="&|;")
        reader.whitespace_split = True
        for word in reader:
            if set(word) <= set("&|;"):
                found.append([])
            else:
                found[-1].append(word)
        return [words for words in found if words]

    @property
    def calls(self) -> list[list[str]]:
        """Arguments of each `facerestore` in it."""
        calls = []
        for words in self.parts:
            names = [i for i, w in enumerate(words) if Path(w).name == "facerestore"]
            if names and (names[0] == 0 or words[names[0] - 1] in ("-m", "do")):
                calls.append(words[names[0] + 1 :])
        return calls


@dataclass(frozen=True)
class Block:
    """A block of a page; language: "" where it is indented instead of fenced."""

    page: str
    language: str
    lines: tuple[str, ...]


def name_of(path: Path) -> str:
    """How tests call a page."""
    return path.relative_to(ROOT).as_posix()


@cache
def made_pages() -> Any:
    """The module that makes pages of the site."""
    path = ROOT / "docs" / "made_pages.py"
    spec = importlib.util.spec_from_file_location("made_pages", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def texts() -> dict[str, str]:
    """Every page by its name, also those with Python that are made."""
    pages = {name_of(path): path.read_text("utf-8") for path in PAGES}
    return pages | {"python.md (made)": made_pages().python()}


def blocks(page: str, text: str) -> Iterator[Block]:
    """Fenced blocks, and indented ones outside of lists."""
    lines = [*text.splitlines(), ""]
    number = 0
    while number < len(lines):
        fence = re.match(r"( *)```(\S*)", lines[number])
        if fence:
            end = number + 1
            while not lines[end].strip().startswith("```"):
                end += 1
            inside = tuple(line[len(fence[1]) :] for line in lines[number + 1 : end])
            yield Block(page, fence[2] or "none", inside)
            number = end + 1
        elif lines[number].startswith("    ") and _apart(lines, number):
            end = number
            while lines[end].startswith("    ") or (
                not lines[end] and lines[end + 1 : end + 2] and lines[end + 1].startswith("    ")
            ):
                end += 1
            yield Block(page, "", tuple(line[4:] for line in lines[number:end]))
            number = end
        else:
            number += 1


def _apart(lines: list[str], number: int) -> bool:
    """Whether an indented line begins a block: blank or a comment above, and no list before."""
    above = lines[number - 1].strip() if number else ""
    if above and not above.startswith("<!--"):
        return False
    before = next((line for line in reversed(lines[:number]) if line.strip()), "")
    return not re.match(r" *([-*:]|\d+\.) ", before) and not before.startswith("  ")


def commands(page: str, text: str) -> Iterator[Command]:
    """The commands of a page, in its order: those of blocks, then those in sentences."""
    for block in blocks(page, text):
        shell = block.language in SHELL or (not block.language and _looks_like_shell(block))
        if shell:
            yield from (Command(page, line) for line in _joined(block.lines))
    prose = re.sub(r"^( *)```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)
    for found in re.finditer(r"`(facerestore [^`]+)`", prose):
        yield Command(page, re.sub(r"\s+", " ", found[1]), inline=True)


def _looks_like_shell(block: Block) -> bool:
    return any(line.split()[:1] and line.split()[0] in FIRST for line in block.lines)


def _joined(lines: tuple[str, ...]) -> Iterator[str]:
    """Commands of a block: continued lines and loops in one, a script as a whole, no comments."""
    if lines and lines[0].startswith("#!"):
        yield "\n".join(lines)
        return
    waiting = ""
    for line in lines:
        text = re.sub(r"(^|\s+)#(?!SBATCH).*$", "", line).rstrip()
        if not text:
            continue
        waiting = f"{waiting} {text.strip()}" if waiting else text
        if waiting.endswith("\\"):
            waiting = waiting[:-1].rstrip()
        elif not waiting.startswith("for ") or "done" in text:
            yield waiting
            waiting = ""


def snippets(page: str, text: str) -> Iterator[str]:
    """The Python of a page."""
    for block in blocks(page, text):
        if block.language in PYTHON:
            yield "\n".join(block.lines)
