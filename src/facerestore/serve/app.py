"""The web application: what can be asked for under the key, each request a few lines."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

import facerestore
from facerestore.errors import BadInputError, FaceRestoreError, ResourceError
from facerestore.frames import TASK_NAMES
from facerestore.serve import folder, looks, pages
from facerestore.serve.desk import Desk, desk_of
from facerestore.serve.guard import REPORT, Door, Guard
from facerestore.serve.helper import COPY_SECONDS, LOOK_SECONDS
from facerestore.serve.jobs import PREVIEW, RESTORE, Ticket
from facerestore.serve.scratch import keep_newest
from facerestore.serve.wishes import PREVIEW_SECONDS, Wish, model_names, options_of, preview_of
from facerestore.video.output import atomic, check_room
from facerestore.video.profiles import PROFILES

SPARE_BYTES = 256 << 20  # left free by an upload: a disk that is quite full troubles everybody
MOST_SIDE = 1920  # px of a still
CLIPS_KEPT = 12
KEEP = "private, max-age=3600"  # stills: their address changes with the film
NO_PICTURE = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 9"><path fill="#8885" d="M0 0h16v9H0z'
    'M6 2.5v4l4-2z" fill-rule="evenodd"/></svg>'
)


router = APIRouter()


def make_app(desk: Desk, door: Door) -> Guard:
    """The application behind its guard."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, title="facerestore")
    app.state.desk = desk
    app.include_router(pages.router)
    app.include_router(router)

    def explain(request: Request, error: Exception) -> JSONResponse:
        status = 400
        if isinstance(error, folder.NotThereError):
            status = 404
        elif isinstance(error, ResourceError):
            status = 507
        elif not isinstance(error, (FaceRestoreError, RequestValidationError)):
            status = 500
        text = desk.sentence(str(error))
        if isinstance(error, HTTPException):
            status, text = error.status_code, f"there is nothing here ({error.detail})"
        if isinstance(error, RequestValidationError):
            text = f"not understood: {error.errors()[0]['msg']}"
        elif status == 500:
            text = f"unexpected failure ({error!r})"
        return JSONResponse({"message": text}, status)

    app.add_exception_handler(FaceRestoreError, explain)
    app.add_exception_handler(HTTPException, explain)
    app.add_exception_handler(Exception, explain)
    app.add_exception_handler(RequestValidationError, explain)
    app.add_exception_handler(ClientDisconnect, lambda request, error: Response(status_code=400))
    return Guard(app, door)


# ---- the folder --------------------------------------------------------------------------------


@router.get("/api/folder")
def list_folder(request: Request) -> dict[str, Any]:
    root = desk_of(request).root
    entries, more = folder.films_in(root)
    return {
        "name": root.name or str(root),
        "films": [vars(entry) | {"changed": str(entry.changed)} for entry in entries],
        "more": more,
        "pictures": folder.pictures_in(root),
    }


@router.get("/api/choices")
def choices() -> dict[str, Any]:
    return {
        "models": model_names(),
        "profiles": PROFILES,
        "tasks": TASK_NAMES,
        "previewSeconds": PREVIEW_SECONDS,
        "clipSeconds": looks.CLIP_SECONDS,
        "version": facerestore.__version__,
    }


@router.get("/files/{name:path}")
def serve_file(request: Request, name: str, download: bool = False) -> Response:
    path, kind = folder.served_kind(desk_of(request).root, name)
    headers = {"content-security-policy": REPORT, "cache-control": "no-cache"}
    filename = path.name if download else None
    return FileResponse(path, media_type=kind, headers=headers, filename=filename)


@router.put("/api/films")
async def receive(request: Request, name: str) -> dict[str, str]:
    """A film comes in as the body; it appears when it is whole and known to be a film."""
    desk, clean = desk_of(request), folder.clean_name(name)
    length = int(request.headers["content-length"])
    check_room(desk.root, length + SPARE_BYTES)
    with TemporaryDirectory(dir=desk.scratch, prefix="upload-") as hidden:
        target = folder.free_path(desk.root, clean)
        with atomic(target, None, overwrite=False, folder=Path(hidden)) as part:
            with part.open("wb") as file:
                async for chunk in request.stream():
                    await run_in_threadpool(file.write, chunk)
                file.flush()
                await run_in_threadpool(os.fsync, file.fileno())
            if part.stat().st_size != length:
                raise BadInputError(f"{clean}: did not arrive whole; send it again")
            try:
                await run_in_threadpool(desk.looker.ask, looks.facts_of, part, seconds=LOOK_SECONDS)
            except BadInputError as error:
                raise BadInputError(str(error).replace(str(part), clean)) from None
    return {"name": target.name}


# ---- one film ----------------------------------------------------------------------------------


@router.get("/api/facts")
def facts(request: Request, film: str) -> dict[str, Any]:
    desk = desk_of(request)
    path = folder.film_inside(desk.root, film)
    return desk.looker.ask(looks.facts_of, path, seconds=LOOK_SECONDS)


@router.get("/api/still")
def still(request: Request, film: str, at: float = 0.0, side: int = 960) -> Response:
    desk = desk_of(request)
    path = folder.film_inside(desk.root, film)
    side = min(max(side, 16), MOST_SIDE)
    try:
        picture = desk.looker.ask(looks.still, path, max(at, 0.0), side, seconds=LOOK_SECONDS)
    except BadInputError:  # what is wrong is told with the film's facts
        return Response(NO_PICTURE, media_type="image/svg+xml")
    return Response(picture, media_type="image/jpeg", headers={"cache-control": KEEP})


@router.get("/api/clip")
def clip(request: Request, film: str, number: int) -> Response:
    """Some seconds of a film that browsers cannot play, as one that they can."""
    desk = desk_of(request)
    path = folder.film_inside(desk.root, film)
    there = path.stat()
    copies = desk.scratch / "clips"
    copies.mkdir(exist_ok=True)
    copy = copies / f"{there.st_dev}-{there.st_ino}-{there.st_mtime_ns}-{max(number, 0)}.mp4"
    if not copy.exists():
        desk.cutter.ask(looks.clip, path, copy, max(number, 0), seconds=COPY_SECONDS)
        keep_newest(copies, CLIPS_KEPT)
    return FileResponse(copy, media_type="video/mp4")


@router.post("/api/masks")
async def store_mask(request: Request, film: str) -> dict[str, str]:
    """A drawn mask becomes a picture beside the film: it is needed to go on, and for the report."""
    desk = desk_of(request)
    path, content = folder.film_inside(desk.root, film), await request.body()
    clean, digest = await run_in_threadpool(
        desk.looker.ask, looks.drawn_mask, content, seconds=LOOK_SECONDS
    )
    name = f"{path.stem[: folder.LONGEST_STEM]}.mask-{digest}.png"
    target = path.with_name(name)
    if not (target.is_file() and target.read_bytes() == clean):
        target = folder.free_path(path.parent, name)
        with atomic(target, None, overwrite=False) as part:
            part.write_bytes(clean)
    return {"name": target.relative_to(desk.root).as_posix()}


# ---- the queue ---------------------------------------------------------------------------------


@router.get("/api/queue")
def queue(request: Request) -> list[dict[str, Any]]:
    desk = desk_of(request)
    return [shown(ticket, desk) for ticket in desk.queue.all()]


@router.post("/api/restore")
def start(request: Request, wish: Wish) -> dict[str, Any]:
    desk = desk_of(request)
    path, options = folder.film_inside(desk.root, wish.film), options_of(wish, desk.root)
    output = desk.looker.ask(looks.place, path, options, seconds=LOOK_SECONDS)
    folder.check_ours(output)
    return shown(desk.queue.add(RESTORE, wish.film, path, output, options), desk)


@router.post("/api/preview")
def preview(request: Request, wish: Wish, at: float = 0.0) -> dict[str, Any]:
    desk = desk_of(request)
    path, options = folder.film_inside(desk.root, wish.film), options_of(wish, desk.root)
    seconds = desk.looker.ask(looks.facts_of, path, seconds=LOOK_SECONDS)["seconds"]
    options = preview_of(options, at, seconds)
    if options.mask is not None:
        desk.looker.ask(looks.check_mask_file, options.mask, seconds=LOOK_SECONDS)
    output = desk.scratch / "previews" / uuid4().hex / "after.mkv"
    return shown(desk.queue.add(PREVIEW, wish.film, path, output, options), desk)


@router.delete("/api/queue/{number}")
def stop(request: Request, number: int) -> dict[str, Any]:
    desk_of(request).queue.stop(number)
    return {}


def shown(ticket: Ticket, desk: Desk) -> dict[str, Any]:
    """What the page is told of a ticket."""
    step = ticket.step
    output = report = ""
    if ticket.kind == RESTORE:
        output = ticket.output.relative_to(desk.root).as_posix()
        report = ticket.report.relative_to(desk.root).as_posix() if ticket.report else ""
    return {
        "number": ticket.number,
        "kind": ticket.kind,
        "film": ticket.name,
        "status": ticket.status,
        "message": desk.sentence(ticket.message),
        "notes": [desk.sentence(note) for note in ticket.notes],
        "tasks": str(ticket.options.tasks),
        "start": ticket.options.start_seconds,
        "output": output,
        "report": report,
        "shown": ticket.shown,
        "step": step and vars(step),
        "rate": round(ticket.rate, 3),
    }
