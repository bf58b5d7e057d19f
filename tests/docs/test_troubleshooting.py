"""The sentences of docs/troubleshooting.md are those of the program, to the letter."""

import ast
import re
import shlex

import av
import cv2
import numpy as np
import pytest
from making import ROOT, TINY, pictures, write_film, write_picture
from typer.testing import CliRunner

from facerestore.cli import app

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
SENTENCES = re.findall(r"^`([^`]+)`[^\n]*\n:  ", PAGE, flags=re.MULTILINE)
LEAST_LETTERS = 12  # of a template that is no variable: `{a}: {b}` would match anything

# Sentence -> the command that ends with it, in the folder below.
CAUSES = {
    "no film named; name films, folders, or a list with --files-from": "restore",
    "ARCHIVE: is a folder; name one for the results with -o": "restore ARCHIVE",
    "film.mp4: is one file, but there are several films; name a folder": (
        "restore old.mp4 clean.mp4 -o film.mp4"
    ),
    "new.mp4: exists already; remove it or add --overwrite": "restore film.mp4 -o new.mp4",
    "film.mp4: is the input itself; name another output": "restore film.mp4 -o film.mp4",
    "unknown task 'sharpen'; choose from bfr, color, inpaint": "restore film.mp4 -t sharpen",
    "task inpaint needs --mask: a picture or video, white where to fill": (
        "restore film.mp4 -t inpaint"
    ),
    "--mask is only used by task inpaint; add it to --task": "restore film.mp4 --mask mask.png",
    (
        "output '*.mp4': cannot hold ffv1, in which profile archive writes 640x360 yuv420p; "
        "use .mkv"
    ): "restore film.mp4 -o a.mp4 --profile archive",
    "'soon' is not a time; write 90, 1:30 or 0:01:30.5": "restore film.mp4 --start soon",
    "the part from 3.0 s to 2.0 s is empty": "restore film.mp4 --start 3 --end 2",
    "--mode fast is for svfr; leave it out for mini": "restore film.mp4 --mode fast",
    "--identity-guard blend needs a model with an identity network; mini has none": (
        "restore film.mp4 --identity-guard blend"
    ),
    "classic cannot colour; leave color out of --task, or use -m mini": (
        "restore film.mp4 -m classic -t color"
    ),
    "new.mp4.report.html: exists already; remove it or add --overwrite": (
        "compare film.mp4 new.mp4 -o new.mp4.report.html"
    ),
    "name a restored film OUT, or --dataset FOLDER; one of them": "evaluate",
    "shards: holds tar files already; name another folder": "train prepare PICTURES -o shards",
    "wrong.toml: not a training configuration (losses: unknown key 'ulrr')": "train wrong.toml",
    "nothing.mp4: no such file; check the name": "restore nothing.mp4",
    "my.toml: no such file; configs/mini.toml is one to begin with": "train my.toml",
    "EMPTY: no film found; their names end in .mp4, .mkv, .mov, .avi and the like": (
        "restore EMPTY -o RESTORED"
    ),
    "*.mpeg: matches no file; check the pattern": "restore '*.mpeg' -o RESTORED",
    "ARCHIVE: is a folder; name a video file": "degrade ARCHIVE -o bad.mp4",
    "empty.mp4: is empty; copy it again or check that it plays": "restore empty.mp4",
    (
        "text.mp4: is not a readable video (invalid data found when processing input); "
        "copy it again or check that it plays"
    ): "restore text.mp4",
    "sound.m4a: no video stream; is it an audio file?": "restore sound.m4a",
    "photo.jpg: is a still picture; make a video of it first": "restore photo.jpg",
    (
        "small.png: mask of 64x64 does not have the shape of the film's picture, 640x360; "
        "draw it on a frame of the film"
    ): "restore film.mp4 -t inpaint --mask small.png",
    "wall.png: no face found in the reference picture; choose another": (
        "restore film.mp4 --reference wall.png"
    ),
    "wall.mp4: no face to write with --crop-only; leave the option out": (
        "restore wall.mp4 --crop-only"
    ),
    "film.mp4: no frame in the part asked for; choose another": "restore film.mp4 --start 9",
    (
        "small.mp4: its picture is 320x180, that of film.mp4 is 640x360; scale one of them first, "
        "as in: ffmpeg -i small.mp4 -vf scale=640:360,setsar=1 -c:v ffv1 scaled.mkv"
    ): "evaluate small.mp4 film.mp4",
    "wall.mp4: no face found; take the whole picture with --region frame": (
        "evaluate wall.mp4 wall.mp4"
    ),
    "DATA: no folder 'truth' with the true films in it; add it": "evaluate --dataset DATA",
    "shards/val-*.tar: no such file; is --data the right folder?": (
        "train configs/short.toml --data shards"
    ),
    "wall.png: no face clip found; nothing was written to shards": (
        "train prepare wall.png -o shards"
    ),
    "model svfr is not here; get it with: facerestore models pull svfr (or convert)": (
        "restore film.mp4 -m svfr"
    ),
    (
        "'minni': neither a model (mini, svfr), nor a baseline (classic, gfpgan, codeformer, "
        "restoreformer), nor a file of weights, nor a folder with facerestore.json"
    ): "restore film.mp4 -m minni",
    (
        "broken/unet/diffusion_pytorch_model.safetensors: damaged; install facerestore or the "
        "model again"
    ): "restore film.mp4 -m broken",
    "device 'cuda' is not available here; use --device cpu": "restore film.mp4 --device cuda",
    "no face found, none restored": "restore wall.mp4",
    "faces left alone: 2 too small, 0 too blurred, 1 too short": None,
    "no other face found, none restored": "restore tiny.mp4",
    "colour is given to the faces only, not to the whole picture": (
        "restore film.mp4 -o faces.mp4 -t color"
    ),
    "the film has colours already: those of the faces are replaced": (
        "restore film.mp4 -o faces.mp4 -t color --overwrite -m mini --end 0.2"
    ),
    "the mask reaches beyond the square of a face: it is filled inside only": (
        "restore film.mp4 -o band.mp4 -t inpaint --mask band.png -m classic"
    ),
    "the mask has no hole on a face: nothing was filled": (
        "restore film.mp4 -o filled.mp4 -t inpaint --mask black.png -m classic"
    ),
    "new.mp4: done already": "restore film.mp4 -o again/new.mp4 -m classic",
    "new.mp4: exists already, made in another way; remove it or add --overwrite": (
        "restore film.mp4 -o again/new.mp4 -m classic --strength 0.5"
    ),
}


@pytest.fixture
def mishaps(folder, monkeypatch):
    """The user's folder with everything that can be wrong in it."""
    wall = np.full((360, 640, 3), 90, np.uint8)
    write_film(folder / "wall.mp4", [wall] * 8)
    write_film(folder / "small.mp4", [wall[:180, :320]] * 8)
    write_film(folder / "tiny.mp4", [cv2.resize(p, (128, 72)) for p in pictures()])
    write_picture(folder / "wall.png", wall)
    write_picture(folder / "black.png", wall * 0)
    band = wall * 0
    band[170:190] = 255  # from border to border
    write_picture(folder / "band.png", band)
    write_picture(folder / "small.png", wall[:64, :64])
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_bytes(b"hello " * 99)
    for name in ("new.mp4", "new.mp4.report.html"):
        (folder / name).write_bytes((folder / "film.mp4").read_bytes())
    (folder / "shards").mkdir()
    (folder / "EMPTY").mkdir()
    (folder / "wrong.toml").write_text(TINY.replace("ulr =", "ulrr ="))
    (folder / "DATA" / "truth" / "a.mp4").unlink()
    (folder / "DATA" / "truth").rmdir()
    with av.open(str(folder / "sound.m4a"), "w", format="mp4") as out:
        stream = out.add_stream("aac", rate=44100, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 44100
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    broken = folder / "broken"
    (folder / "src" / "facerestore" / "assets" / "mini").rename(broken)
    weights = broken / "unet" / "diffusion_pytorch_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    return folder


def said(words):
    """All that a command says."""
    return CliRunner().invoke(app, shlex.split(words)).output


@pytest.mark.timeout(1800)  # on a busy machine
def test_most_sentences_are_really_said(mishaps):
    (mishaps / "again").mkdir()
    said("restore film.mp4 -o again/new.mp4 -m classic")
    wrong = {}
    for sentence, cause in CAUSES.items():
        if cause is None:
            continue
        if sentence.startswith("shards: holds"):
            (mishaps / "shards" / "train-000000.tar").touch()
        output = said(cause)
        (mishaps / "shards" / "train-000000.tar").unlink(missing_ok=True)
        if sentence.startswith("shards/val"):
            sentence = sentence.replace("val-", "train-")  # the first that is missing
        if sentence not in output:
            wrong[sentence] = output
    assert not wrong, "\n".join(f"{s}\n   but: {w}" for s, w in wrong.items())


def test_the_page_has_the_sentences_that_are_caused_here():
    assert set(CAUSES) <= set(SENTENCES)
    assert len(SENTENCES) > 60


def templates():
    """Every text of the program with {} for what is put in, as regular expressions."""
    for path in (ROOT / "src" / "facerestore").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [p.value if isinstance(p, ast.Constant) else None for p in node.values]
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                parts = [node.value]
            else:
                continue
            letters = sum(len(part) for part in parts if part)
            if letters >= LEAST_LETTERS:
                yield re.compile("".join(".+" if p is None else re.escape(p) for p in parts))


def test_every_sentence_is_in_the_program():
    known = list(templates())
    strange = [text for text in SENTENCES if not any(one.fullmatch(text) for one in known)]
    assert not strange
