"""Which encoder, sample format and container a film gets: the table of output profiles."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import av

from facerestore.errors import BadInputError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from facerestore.video.reader import FilmInfo

PROFILES = ("share", "archive", "lossless", "small", "edit")
SUFFIXES = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
SUFFIX_OF = {"mp4": ".mp4", "mov": ".mov", "matroska": ".mkv"}
ALPHA = ("yuva", "rgba", "bgra", "argb", "abgr", "gbrap", "ya")

# Without B frames: with them libx264 164 looks ahead into memory that it has not set, and the same
# film comes out a little different now and then; a resumed film must not. crf 18 then is as good as
# 17 was, and up to a fifth larger.
X264 = {"crf": "18", "preset": "veryfast", "bf": "0"}
X264_LOSSLESS = {"qp": "0", "preset": "veryfast", "bf": "0"}  # crf=0 would be lossy at 10 bits
X265_QUIET = {"x265-params": "log-level=error"}  # it writes to stderr by itself otherwise
X265 = {"crf": "18", "preset": "medium", **X265_QUIET}
X265_SMALL = {"crf": "20", "preset": "medium", **X265_QUIET}
SVT_AV1 = {"preset": "8", "crf": "28"}
VP9 = {"crf": "18", "b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"}
FFV1 = {"level": "3", "g": "1", "slicecrc": "1"}  # every frame a key frame, checksummed

HOLDS = {  # containers per encoder, the usual one first
    "libx264": ("mp4", "mov", "matroska"),
    "libx265": ("mp4", "mov", "matroska"),
    "libsvtav1": ("mp4", "matroska"),
    "libvpx-vp9": ("mp4", "matroska"),
    "ffv1": ("matroska",),
    "prores_ks": ("mov", "matroska"),
}
PROGRESSIVE_ONLY = ("libsvtav1", "libvpx-vp9")
SVT_LEAST_SIZE = 64  # SVT-AV1 refuses smaller pictures

# Without loss of a sample: formats that FFV1 does not take as they are.
FFV1_LIKE = {
    "rgb24": "bgr0",
    "bgr24": "bgr0",
    "gbrp": "bgr0",
    "rgb0": "bgr0",
    "rgba": "bgra",
    "pal8": "bgra",
    "nv12": "yuv420p",
    "p010le": "yuv420p10le",
    "yuvj420p": "yuv420p",
    "yuvj422p": "yuv422p",
    "yuvj444p": "yuv444p",
}


@dataclass(frozen=True)
class Encoding:
    """How a film is written.

    codec, options: encoder and its options;  pix_fmt: sample format it is given
    container:      "mp4", "mov" or "matroska";  notes: what differs from the profile, for the user
    """

    codec: str
    options: dict[str, str]
    pix_fmt: str
    container: str
    notes: tuple[str, ...] = field(default=())


def choose_container(info: FilmInfo, profile: str, suffix: str) -> str:
    """By the suffix the user gave ("" = none), else by profile and the input's real format."""
    if suffix:
        if suffix.lower() not in SUFFIXES:
            raise UsageError(f"output '*{suffix}': cannot be written; choose .mp4, .mov or .mkv")
        return SUFFIXES[suffix.lower()]
    if profile in ("archive", "edit"):
        return {"archive": "matroska", "edit": "mov"}[profile]
    if "mp4" in info.container.split(","):
        return "mov" if info.quicktime else "mp4"
    return "matroska"


def choose_encoding(info: FilmInfo, profile: str, *, suffix: str = "") -> Encoding:
    """The encoding for a film; raises UsageError or BadInputError where there is none.

    suffix: of the output file the user named, "" where the tool chooses
    """
    container = choose_container(info, profile, suffix)
    takers = [entry for entry in _candidates(info, profile) if _takes(entry[0], entry[2], info)]
    if not takers:
        raise BadInputError(
            f"{info.path}: {_what(info)} cannot be written with profile {profile}; use archive"
        )
    for codec, options, pix_fmt in takers:
        if not suffix and container not in HOLDS[codec]:
            container = HOLDS[codec][0]
        if container in HOLDS[codec]:
            return Encoding(codec, options, pix_fmt, container, _notes(info, profile, codec))
    needs = " or ".join(SUFFIX_OF[name] for name in HOLDS[takers[-1][0]])
    raise UsageError(
        f"output '*{suffix}': cannot hold {takers[-1][0]}, in which profile {profile} writes "
        f"{_what(info)}; use {needs}"
    )


def _candidates(info: FilmInfo, profile: str) -> list[tuple[str, dict[str, str], str]]:
    plain = FFV1_LIKE.get(info.pix_fmt, info.pix_fmt)
    ffv1 = ("ffv1", FFV1, plain)
    if profile == "archive":
        return [ffv1]
    if profile == "lossless":
        return [("libx264", X264_LOSSLESS, plain), ffv1]
    if profile == "small":
        return [("libsvtav1", SVT_AV1, plain), ("libx265", X265_SMALL, plain), ffv1]
    if profile == "edit":
        return [_prores(info)]
    return [("libx264", X264, plain), ("libx265", X265, plain), ("libvpx-vp9", VP9, plain), ffv1]


def _prores(info: FilmInfo) -> tuple[str, dict[str, str], str]:
    if has_alpha(info.pix_fmt):
        return "prores_ks", {"profile": "4"}, "yuva444p10le"
    if "444" in info.pix_fmt or "rgb" in info.pix_fmt or "gbr" in info.pix_fmt:
        return "prores_ks", {"profile": "4"}, "yuv444p10le"
    return "prores_ks", {"profile": "3"}, "yuv422p10le"


def _takes(codec: str, pix_fmt: str, info: FilmInfo) -> bool:
    known = {f.name: f for f in av.Codec(codec, "w").video_formats or ()}
    if pix_fmt not in known or (has_alpha(pix_fmt) and codec not in ("ffv1", "prores_ks")):
        return False
    if info.interlaced and codec in PROGRESSIVE_ONLY:
        return False
    if codec in ("ffv1", "libvpx-vp9", "prores_ks"):
        return True
    if codec == "libsvtav1" and min(info.width, info.height) < SVT_LEAST_SIZE:
        return False
    across, down = 2 // known[pix_fmt].chroma_width(2), 2 // known[pix_fmt].chroma_height(2)
    return info.width % across == 0 and info.height % down == 0


def _notes(info: FilmInfo, profile: str, codec: str) -> tuple[str, ...]:
    usual = {"share": "libx264", "lossless": "libx264", "small": "libsvtav1"}.get(profile, codec)
    if codec == usual:
        return ()
    return (f"{usual} cannot hold {_what(info)} unchanged, so {codec} is used",)


def _what(info: FilmInfo) -> str:
    lines = " interlaced" if info.interlaced else ""
    return f"{info.width}x{info.height} {info.pix_fmt}{lines}"


def has_alpha(pix_fmt: str) -> bool:
    """Whether samples carry transparency."""
    return pix_fmt.startswith(ALPHA)


def default_output(source: Path, container: str) -> Path:
    """`film.avi` -> `film.restored.mkv`, beside it."""
    return source.with_name(f"{source.stem}.restored{SUFFIX_OF[container]}")


def missing_encoders() -> list[str]:
    """Names of the encoders the profiles use that this build of FFmpeg lacks."""
    wanted = ("libx264", "libx265", "libsvtav1", "ffv1", "prores_ks", "libvpx-vp9")
    return [name for name in wanted if name not in av.codecs_available]
