"""Pages that mkdocs makes when it builds the site, from what they describe, so none can be stale.

    cli.md             from the Typer application
    python.md          from signatures and docstrings
    configurations.md  from configs/;  changelog.md from CHANGELOG.md
    model-cards.md     has the card of `mini` put in where it says so

mkdocs calls the functions named `on_...` (hooks in mkdocs.yml). Links of other pages to files of
the repository are turned to these pages, so that they work on both.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import MISSING, Field, fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import typer
from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent
CARD = "src/facerestore/assets/mini/README.md"
HERE = {  # files of the repository that are on the site, too
    "../configs/mini.toml": "configurations.md#configsminitoml",
    "../configs/svfr.toml": "configurations.md#configssvfrtoml",
    "../configs/short.toml": "configurations.md#configsshorttoml",
    f"../{CARD}": "model-cards.md#model-card-mini",
    "../CHANGELOG.md": "changelog.md",
}
PUBLIC = {  # beside what facerestore/__init__.py exports
    "facerestore.evaluation.metrics": ("psnr", "chroma_psnr", "ssim", "temporal_error"),
    "facerestore.evaluation.flow": ("warp_error",),
    "facerestore.evaluation.fvd": ("frechet_distance",),
    "facerestore.errors": (
        "FaceRestoreError",
        "UsageError",
        "BadInputError",
        "ModelError",
        "ResourceError",
        "BusyError",
        "DoneError",
    ),
}
SNIPPET = """\
from pathlib import Path

from facerestore import RestoreOptions, Tasks, restore

options = RestoreOptions(tasks=Tasks(bfr=True), end_seconds=2.0)
result = restore(Path("film.mp4"), Path("new.mp4"), options)
print(result.frames, len(result.people()), result.warnings)
"""


def on_files(files: Any, config: Any) -> Any:
    """Add the made pages."""
    made = {
        "cli.md": command_line(),
        "python.md": python(),
        "configurations.md": configurations(),
        "changelog.md": (ROOT / "CHANGELOG.md").read_text("utf-8"),
    }
    for name, content in made.items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Put the model card in, and turn links to files of the repository to pages of the site."""
    if page.file.src_uri == "model-cards.md":
        card = (ROOT / CARD).read_text("utf-8")
        card = re.sub(r"^(#+ )", r"#\1", card, flags=re.MULTILINE)
        card = re.sub(r"^  (?=\S)", "    ", card, flags=re.MULTILINE)  # lists nest by four here
        card = re.sub(r"(\n {4}[^\n]*)\n- ", r"\1\n\n- ", card)
        markdown = markdown.replace("<!-- the card of mini -->", card)
    for path, target in HERE.items():
        markdown = markdown.replace(f"]({path})", f"]({target})")
    return markdown


def command_line() -> str:
    """Every command and option, as the program itself knows them."""
    from facerestore.cli import app

    parts = [
        "# Command line",
        "Made from the program itself; `--help` after any of them says the same. What the options "
        "mean for your films, and the exit codes: [Using facerestore](usage.md).",
    ]
    for name, command in commands(typer.main.get_command(app), "facerestore"):
        parts += described(name, command)
    return "\n\n".join(parts) + "\n"


def commands(command: Any, name: str) -> list[tuple[str, Any]]:
    """A command and all below it, with their full names."""
    found = [(name, command)]
    for word, one in getattr(command, "commands", {}).items():
        found += commands(one, f"{name} {word}")
    return found


def described(name: str, command: Any) -> list[str]:
    """One command: heading, usage, what it does, a table of its arguments and options."""
    context = command.make_context(name, [], resilient_parsing=True)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    parts = [f"## `{name}`", f"```text\n{usage}\n```"]
    if command.help:
        parts.append(inspect.cleandoc(command.help))
    records = [param.get_help_record(context) for param in command.params]
    bar = "\\|"
    rows = [
        f"| `{left.replace('|', bar)}` | {cell(right)} |" for left, right in filter(None, records)
    ]
    if rows:
        parts.append("| | |\n| --- | --- |\n" + "\n".join(rows))
    return parts


def cell(text: str) -> str:
    """Text of a table's cell, shown as it is."""
    return re.sub(r"([|*_<[])", r"\\\1", text)


def python() -> str:
    """What programs may use, from signatures and docstrings."""
    import facerestore

    parts = [
        "# Python",
        "What is here stays as it is within a version; everything else may change. Importing "
        "`facerestore` takes no time: torch is loaded when a model is needed. Failures are the "
        "exceptions [below](#errors), each with one sentence and the command line's exit code.",
        f"```python\n{SNIPPET}```",
    ]
    names = sorted(name for name in facerestore.__all__ if not name.startswith("__"))
    parts += [api("facerestore", name, getattr(facerestore, name)) for name in names]
    for module_name, members in PUBLIC.items():
        heading = module_name.rpartition(".")[2].capitalize()
        parts.append(f"## {heading}\n\nIn `{module_name}`.")
        module = import_module(module_name)
        parts += [api(module_name, name, getattr(module, name), level=3) for name in members]
    return "\n\n".join(parts) + "\n"


def api(module: str, name: str, thing: Any, level: int = 2) -> str:
    """One class or function: import, signature, docstring, fields and methods."""
    parts = [f"{'#' * level} `{name}`"]
    if inspect.isclass(thing) and issubclass(thing, Exception):
        code = getattr(thing, "exit_code", 1)
        return f"{parts[0]}\n\n{as_markdown(thing)}\n\nExit code {code}."
    parts += [f"```text\n{signature(name, thing)}\n```", as_markdown(thing)]
    if inspect.isclass(thing):
        methods = [
            (f"{name}.{key}", getattr(thing, key))
            for key, value in vars(thing).items()
            if not key.startswith("_")
            and (inspect.isfunction(value) or isinstance(value, classmethod))
        ]
        parts += [
            f"**`{signature(key, method)}`**\n\n{as_markdown(method)}" for key, method in methods
        ]
    return "\n\n".join(parts)


def signature(name: str, thing: Any) -> str:
    """`name(a: int, *, b: str = "x") -> int`, a parameter a line where it is long."""
    if is_dataclass(thing):
        lines = [f"    {field.name}: {field.type}{default_of(field)}" for field in fields(thing)]
        return f"{name}(\n" + ",\n".join(lines) + ",\n)"
    found = inspect.signature(thing)
    text = f"{name}{found}".replace("'", "")
    if len(text) < 88:
        return text
    words, star = [], False
    for parameter in found.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not star:
            words.append("*")
            star = True
        words.append(str(parameter).replace("'", ""))
    answer = str(found.return_annotation).replace("'", "")
    return f"{name}(\n" + "".join(f"    {word},\n" for word in words) + f") -> {answer}"


def default_of(field: Field[Any]) -> str:
    """` = 1.0`; of a field without a default nothing."""
    if field.default_factory is not MISSING:
        return f" = {field.default_factory()!r}"
    return "" if field.default is MISSING else f" = {field.default!r}"


def as_markdown(thing: Any) -> str:
    """A docstring as Markdown: lines `name: what it is` become a list."""
    lines: list[str] = []
    for line in (inspect.getdoc(thing) or "").splitlines():
        for part in re.split(r";  +(?=\w+[\w, ]*: )", line):
            match = re.match(r"(\w+(?:, \w+)*): +(.*)", part)
            if match and match[1] not in ("Raises", "Returns"):
                if lines and lines[-1] and not lines[-1].startswith(("- ", "  ")):
                    lines.append("")
                lines.append(f"- `{match[1]}`: {match[2]}")
            elif lines and lines[-1].startswith(("- ", "  ")) and part.startswith(" "):
                lines.append(f"  {part.strip()}")
            else:
                if lines and lines[-1].startswith(("- ", "  ")) and part:
                    lines.append("")
                lines.append(part)
    return "\n".join(lines)


def configurations() -> str:
    """The files of configs/, whole."""
    parts = [
        "# Training configurations",
        "The files of `configs/` in the repository, whole. What the keys mean: "
        "[Training](training.md#the-configuration).",
    ]
    for path in sorted((ROOT / "configs").glob("*.toml")):
        parts.append(f"## configs/{path.name}\n\n```toml\n{path.read_text('utf-8').strip()}\n```")
    return "\n\n".join(parts) + "\n"
