"""Render `old_clip.mp4`: a face that belongs to nobody, filmed badly, with a hummed tune.

    python examples/make_example.py [--clean clean.mp4]

The head is a height field (an ellipsoid with brow, nose, cheeks, lips and chin) lit from the upper
left; skin, eyes, lips and hair are drawn on it. It turns, nods, blinks and hums. The film is then
spoilt like an old recording: blurred, shrunk, grainy, compressed hard. `old_clip_mask.png` is a
scratch over the face, white where `--task inpaint` has to fill. `--clean` also writes the
unspoilt film, to measure against. Everything is computed from a fixed seed.
"""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

HERE = Path(__file__).parent
WIDTH, HEIGHT, FPS, FRAMES = 640, 360, 25, 100
SOUND_RATE = 44100
LIGHT = np.array([-0.45, -0.55, 0.75]) / np.linalg.norm([-0.45, -0.55, 0.75])
SKIN, BLUSH, LIPS = np.array([0.80, 0.59, 0.47]), np.array([0.84, 0.45, 0.38]), (0.66, 0.29, 0.27)
HAIR, BROW, SHIRT = np.array([0.23, 0.13, 0.08]), (0.20, 0.12, 0.08), np.array([0.22, 0.33, 0.46])
HEAD = 118.0  # half of the head's height in pixels


def smooth(low, high, x):
    """0 below `low`, 1 above `high`, smooth between (either order)."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def bump(u, v, x, y, wide, high):
    """A Gaussian hill at (x, y)."""
    return np.exp(-(((u - x) / wide) ** 2) - ((v - y) / high) ** 2)


def noise(size, cells, rng):
    """Smooth noise, about -1..1, `cells` cells across."""
    coarse = rng.standard_normal((cells, cells)).astype(np.float32)
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)


def textures(seed=5):
    """Skin mottling and pores, hair strands, a wall out of focus; fixed to the head or the room."""
    rng = np.random.default_rng(seed)
    skin = 0.5 * noise(512, 24, rng) + 0.6 * noise(512, 110, rng) + 0.35 * noise(512, 256, rng)
    strands = cv2.GaussianBlur(rng.standard_normal((512, 512)).astype(np.float32), (1, 61), 0)
    wall = noise(640, 7, rng)[:HEIGHT]
    return skin, strands / strands.std(), wall


def looked_up(texture, u, v):
    """The texture at head coordinates -1.5..1.5."""
    scale = texture.shape[0] / 3
    x, y = ((c + 1.5) * scale for c in (u, v))
    return cv2.remap(texture, np.float32(x), np.float32(y), cv2.INTER_LINEAR)


def pose(t):
    """Shift x, y (pixels), roll (radians), yaw (-1..1), eyelid (1 open), mouth (0 shut)."""
    blink = min((abs(t - b) / 0.13 for b in (0.9, 2.7)), default=1.0)
    mouth = 0.5 + 0.5 * np.sin(2 * np.pi * 1.9 * t)
    return (
        8 * np.sin(1.3 * t) + 3 * np.sin(3.1 * t),
        4 * np.sin(1.9 * t + 1),
        0.06 * np.sin(1.1 * t + 0.5),
        0.75 * np.sin(1.5 * t),
        float(np.clip(blink**1.5, 0.04, 1)),
        float(mouth * smooth(0.2, 0.7, t) * smooth(3.9, 3.4, t)),
    )


def height_field(u, v, f, mouth):
    """How far the head comes forward; `f` is u as the features see it (moved by the turn)."""
    ball = np.sqrt(np.clip(1.03 - (u / 0.76) ** 2 - (v / 1.0) ** 2, 0, None)) * 0.72
    nose = 0.17 * bump(f, v, 0, 0.12, 0.085, 0.24) + 0.13 * bump(f, v, 0, 0.27, 0.10, 0.08)
    nose += 0.05 * (bump(f, v, -0.11, 0.29, 0.05, 0.05) + bump(f, v, 0.11, 0.29, 0.05, 0.05))
    brow = 0.05 * (bump(f, v, -0.28, -0.17, 0.19, 0.06) + bump(f, v, 0.28, -0.17, 0.19, 0.06))
    socket = -0.07 * (bump(f, v, -0.27, -0.02, 0.15, 0.09) + bump(f, v, 0.27, -0.02, 0.15, 0.09))
    cheek = 0.06 * (bump(f, v, -0.36, 0.26, 0.17, 0.16) + bump(f, v, 0.36, 0.26, 0.17, 0.16))
    lip = 0.05 * bump(f, v, 0, 0.485 - 0.01 * mouth, 0.19, 0.035)
    lip += 0.06 * bump(f, v, 0, 0.575 + 0.045 * mouth, 0.16, 0.045)
    chin = 0.06 * bump(f, v, 0, 0.80, 0.17, 0.10) - 0.03 * bump(f, v, 0, 0.67, 0.16, 0.04)
    return ball + nose + brow + socket + cheek + lip + chin


def shade(z, step):
    """Light on a height field: lambert, a fill from the right, a faint gloss."""
    dx, dy = (np.gradient(z, axis=a) / step for a in (1, 0))
    normal = np.stack([-dx, -dy, np.ones_like(z)], -1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    key = np.clip(normal @ LIGHT, 0, 1)
    fill = np.clip(normal @ np.array([0.75, 0.05, 0.65]), 0, 1)
    gloss = np.clip(normal @ np.array([-0.25, -0.3, 0.92]), 0, 1) ** 28
    return 0.3 + 0.72 * key + 0.22 * fill, gloss


def over(canvas, colour, alpha):
    """Lay a colour over the canvas."""
    canvas += alpha[..., None] * (np.asarray(colour) - canvas)


def draw_eye(canvas, f, v, x, lid, gaze, light):
    """Sclera, iris, pupil, catchlight, lids and lashes of the eye at x."""
    e, w = (f - x) / 0.155, (v + 0.02) / (0.062 * max(lid, 0.05))
    open_ = smooth(1.08, 0.86, np.sqrt(e**2 + w**2)) * (lid > 0.06)
    over(canvas, np.array([0.84, 0.81, 0.77]) * np.clip(light, 0.5, 1.05)[..., None], open_)
    r = np.hypot(f - x - 0.03 * gaze, v + 0.025) / 0.066
    over(canvas, (0.20, 0.27, 0.24), open_ * smooth(1.05, 0.9, r))
    over(canvas, (0.36, 0.45, 0.36), open_ * smooth(0.85, 0.6, r) * 0.6)
    over(canvas, (0.02, 0.02, 0.02), open_ * smooth(0.5, 0.4, r))
    glint = np.hypot(f - x + 0.022 - 0.03 * gaze, v + 0.05) / 0.017
    over(canvas, (1, 1, 1), open_ * smooth(1.1, 0.7, glint))
    upper = np.abs(v + 0.02 + 0.062 * max(lid, 0.05) * np.sqrt(np.clip(1 - e**2, 0, 1)))
    over(canvas, (0.12, 0.07, 0.06), smooth(0.022, 0.006, upper) * smooth(1.1, 0.9, np.abs(e)))
    crease = np.abs(v + 0.115 - 0.03 * e**2)
    over(canvas, SKIN * 0.55, 0.5 * smooth(0.02, 0.004, crease) * smooth(1.05, 0.6, np.abs(e)))


def draw_face(canvas, u, v, f, t, light, skin_texture):
    """Skin and everything on it, on the part of the canvas that shows the head."""
    _, _, _, yaw, lid, mouth = pose(t)
    blush = bump(f, v, -0.4, 0.25, 0.2, 0.14) + bump(f, v, 0.4, 0.25, 0.2, 0.14)
    blush += 0.6 * bump(f, v, 0, 0.28, 0.12, 0.09)
    skin = SKIN + (BLUSH - SKIN) * (0.6 * np.clip(blush, 0, 1))[..., None]
    skin = skin * (1 + 0.035 * skin_texture)[..., None]
    freckles = smooth(0.9, 1.5, skin_texture) * np.clip(blush, 0, 1)
    skin = skin * (1 - 0.1 * freckles)[..., None]
    face = smooth(1.0, 0.95, (u / 0.76) ** 2 + v**2)
    over(canvas, skin * light[..., None], face)
    for x in (-0.27, 0.27):
        draw_eye(canvas, f, v, x, lid, yaw, light)
        arch = v + 0.205 + 0.05 * np.cos((f - x) * 5) - 0.03
        hairs = smooth(0.05, 0.012, np.abs(arch)) * smooth(0.2, 0.14, np.abs(f - x))
        over(canvas, BROW, hairs * (0.8 + 0.15 * np.clip(skin_texture, -1, 1)))
        nostril = bump(f, v, x * 0.24, 0.335, 0.032, 0.016)
        over(canvas, (0.24, 0.1, 0.08), 0.75 * nostril)
    gap = 0.52 + 0.02 * mouth
    half = 0.035 * mouth + 0.006
    arc = 0.03 * (f / 0.2) ** 2
    wide = smooth(0.225 - 0.02 * mouth, 0.17, np.abs(f))
    bow = 0.055 - 0.016 * np.exp(-((f / 0.035) ** 2))
    top = smooth(bow + half, bow + half - 0.02, gap - arc - v) * smooth(-0.02, 0.0, gap - arc - v)
    low = smooth(0.085 + half, 0.05 + half, v - gap + arc) * smooth(-0.02, 0.0, v - gap + arc)
    over(canvas, np.array(LIPS) * light[..., None], 0.85 * wide * np.clip(top + low, 0, 1))
    inner = smooth(half + 0.008, half - 0.004, np.abs(v - gap + arc))
    inner = inner * smooth(0.19, 0.13, np.abs(f))
    over(canvas, (0.2, 0.05, 0.05), inner)
    teeth = inner * smooth(0.0, 0.01, gap - arc + 0.35 * half - v) * smooth(0.13, 0.1, np.abs(f))
    over(canvas, (0.86, 0.84, 0.8), 0.85 * teeth * smooth(0.3, 0.6, mouth))


def draw_hair(canvas, u, v, f, strands, light):
    """A bob with a parting, darker towards the neck."""
    outer = smooth(1.03, 0.97, (np.abs(u) / 0.97) ** 2.3 + (np.abs(v + 0.1) / 1.16) ** 2.3)
    sides = smooth(0.98, 0.93, np.abs(u)) * smooth(0.2, 0.4, v + 0.5) * smooth(0.75, 0.6, v)
    line = -0.66 + 0.5 * np.clip(f + 0.22, -0.6, 1.2) ** 2
    curtain = smooth(0.61, 0.68, np.abs(f) - 0.05 * np.sin(3.4 * v))
    fringe = np.maximum(smooth(line + 0.02, line - 0.03, v), curtain)
    mask = np.maximum(outer * fringe, sides * curtain)
    gloss = 0.6 * np.exp(-(((v + 0.80 + 0.1 * f) / 0.13) ** 2)) + 0.25
    tone = np.clip(0.75 + 0.16 * strands + gloss * np.clip(light, 0.3, 1.2), 0.3, 2.2)
    over(canvas, HAIR * tone[..., None], mask)


def render(t, maps):
    """float64 RGB [H, W, 3], 0..1, at time t in seconds."""
    skin_texture, strand_texture, wall = maps
    dx, dy, roll, yaw, _, mouth = pose(t)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float64) + 0.5
    canvas = np.empty((HEIGHT, WIDTH, 3))
    canvas[:] = np.array([0.47, 0.44, 0.39]) * (1 + 0.13 * wall[:, :WIDTH, None])
    canvas *= (1.1 - 0.45 * (x / WIDTH))[..., None]
    over(canvas, (0.62, 0.56, 0.42), 0.5 * bump(x, y, 120, 90, 60, 60))
    cx, cy = WIDTH / 2 + dx, 168 + dy
    c, s = np.cos(roll), np.sin(roll)
    u, v = (c * (x - cx) + s * (y - cy)) / HEAD, (-s * (x - cx) + c * (y - cy)) / HEAD
    f = u - 0.16 * yaw * np.sqrt(np.clip(1 - (u / 0.8) ** 2, 0.15, 1))
    draw_body(canvas, u, v, x, y, dx)
    light, gloss = shade(height_field(u, v, f, mouth), 1 / HEAD)
    texture = looked_up(skin_texture, f, v)
    back = smooth(1.03, 0.97, (np.abs(u) / 0.97) ** 2.4 + (np.abs(v + 0.02) / 1.1) ** 2.4)
    back = back * np.maximum(
        smooth(0.72, 0.55, v), smooth(0.5, 0.62, np.abs(u)) * smooth(0.9, 0.7, v)
    )
    strands = looked_up(strand_texture, u * 1.2, v * 0.25)
    over(canvas, HAIR * (0.55 + 0.2 * strands)[..., None], back)
    draw_face(canvas, u, v, f, t, light, texture)
    face = smooth(0.98, 0.9, (u / 0.76) ** 2 + v**2)
    canvas += (0.14 * gloss * face)[..., None]
    draw_hair(canvas, u, v, u - 0.08 * yaw, strands, light)
    return np.clip(canvas, 0, 1)


def draw_body(canvas, u, v, x, y, dx):
    """Neck and shoulders."""
    neck = smooth(0.43, 0.38, np.abs(u + 0.02)) * smooth(0.4, 0.6, v)
    tone = 0.42 + 0.35 * np.clip(0.5 - u, 0, 1) - 0.25 * smooth(1.15, 0.8, v)
    over(canvas, SKIN * tone[..., None], neck)
    bow = ((x - WIDTH / 2 - 0.5 * dx) / 190) ** 2
    cloth = smooth(-3, 3, y - 292 - 62 * bow + 26 * np.exp(-bow * 30) * -1)
    fold = 0.9 + 0.12 * np.sin(x / 17 + y / 31) - 0.25 * (x / WIDTH)
    over(canvas, SHIRT * fold[..., None], cloth)


def spoil(film, rng):
    """uint8 RGB [F, H, W, 3] blurred, shrunk by two and enlarged again, with grain."""
    bad = []
    for picture in film:
        soft = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), 1.7)
        small = cv2.resize(soft, (WIDTH // 2, HEIGHT // 2), interpolation=cv2.INTER_AREA)
        small += rng.standard_normal(small.shape[:2])[..., None] * 5
        bad.append(cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR))
    return np.clip(np.stack(bad) + 0.5, 0, 255).astype(np.uint8)


def tune():
    """float32 [n]: a hummed melody, as long as the film."""
    time = np.arange(SOUND_RATE * FRAMES // FPS) / SOUND_RATE
    notes = np.array([196, 220, 247, 262, 247, 220, 196, 196])
    vibrato = 1 + 0.006 * np.sin(2 * np.pi * 5 * time)
    pitch = notes[np.minimum((time * 2).astype(int), 7)] * vibrato
    phase = 2 * np.pi * np.cumsum(pitch) / SOUND_RATE
    voice = sum(np.sin(k * phase) / k**1.7 for k in (1, 2, 3, 4))
    swell = 0.6 + 0.4 * np.sin(np.pi * (time * 2 % 1))
    return (0.12 * voice * swell).astype(np.float32)


def write(path, film, *, crf):
    """H.264 and AAC in MP4, a title and two chapters."""
    with av.open(str(path), "w") as out:
        out.metadata["title"] = "A face that belongs to nobody"
        half = FRAMES // FPS * 500
        out.set_chapters(
            [
                {"id": i, "start": i * half, "end": (i + 1) * half, "time_base": Fraction(1, 1000),
                 "metadata": {"title": name}}
                for i, name in enumerate(("Looking left", "Looking right"))
            ]
        )  # fmt: skip
        video = out.add_stream("libx264", rate=FPS, options={"crf": str(crf), "preset": "slow"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        sound = out.add_stream("aac", rate=SOUND_RATE, layout="mono", bit_rate=64000)
        for picture in film:
            out.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(video.encode(None))
        samples = tune()
        for start in range(0, len(samples), 1024):
            part = np.ascontiguousarray(samples[None, start : start + 1024])
            frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = SOUND_RATE, start
            frame.time_base = Fraction(1, SOUND_RATE)
            out.mux(sound.encode(frame))
        out.mux(sound.encode(None))


def draw_mask():
    """uint8 [H, W]: a scratch over cheek and nose, and a blot."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    line = np.array([[255, 40], [292, 120], [310, 200], [342, 262], [360, 330]], np.int32)
    cv2.polylines(mask, [line], False, 255, 5)
    cv2.circle(mask, (372, 196), 10, 255, -1)
    return mask


def main():
    """Write the clip and its mask beside this script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clean", type=Path, help="also write the film before it is spoilt")
    options = parser.parse_args()
    maps = textures()
    film = np.stack([np.uint8(render(i / FPS, maps) * 255 + 0.5) for i in range(FRAMES)])
    if options.clean:
        write(options.clean, film, crf=10)
    write(HERE / "old_clip.mp4", spoil(film, np.random.default_rng(1)), crf=27)
    cv2.imwrite(str(HERE / "old_clip_mask.png"), draw_mask())


if __name__ == "__main__":
    main()
