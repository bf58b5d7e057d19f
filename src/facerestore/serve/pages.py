"""The page itself, its style and scripts, and the player of previews."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, Response

from facerestore.report.page import coded, template
from facerestore.serve.desk import desk_of
from facerestore.serve.folder import NotThereError
from facerestore.serve.guard import FRAMED
from facerestore.serve.jobs import FACTS

SHARED = ("base.js", "page.css", "player.js")  # with the report page
FILES = {
    "app.css": "text/css",
    "app.js": "text/javascript",
    "film.js": "text/javascript",
    "mask.js": "text/javascript",
    "queue.js": "text/javascript",
    "page.css": "text/css",
    "base.js": "text/javascript",
    "player.js": "text/javascript",
    "preview.js": "text/javascript",
}

router = APIRouter()


@router.get("/")
def page() -> Response:
    return Response(own_file("page.html"), media_type="text/html")


@router.get("/static/{name}")
def static(name: str) -> Response:
    if name not in FILES:
        raise NotThereError(f"{name}: no such file")
    text = template(name) if name in SHARED else own_file(name)
    return Response(text, media_type=FILES[name])


@router.get("/previews/{number}/")
def preview_page(request: Request, number: int) -> Response:
    facts = json.loads((preview_folder(request, number) / FACTS).read_text("utf-8"))
    text = own_file("preview.html").replace("{{stage}}", template("player.html"))
    text = text.replace("{{facts}}", coded(facts))
    return Response(text, media_type="text/html", headers={"content-security-policy": FRAMED})


@router.get("/previews/{number}/{which}.mp4")
def preview_film(request: Request, number: int, which: str) -> Response:
    if which not in ("before", "after"):
        raise NotThereError(f"{which}: no such film")
    return FileResponse(preview_folder(request, number) / f"{which}.mp4", media_type="video/mp4")


def preview_folder(request: Request, number: int) -> Path:
    tickets = desk_of(request).queue.all()
    found = [t.output.parent for t in tickets if t.number == number and t.shown]
    if not found:
        raise NotThereError(f"preview {number}: is not there any more; make it again")
    return found[0]


def own_file(name: str) -> str:
    return files("facerestore.serve").joinpath("web", name).read_text("utf-8")
