"""Compression spoils details; it must not change the light."""

from fractions import Fraction

import cv2
import numpy as np
import pytest

from facerestore.video.compress import recompress
from facerestore.video.layout import as_frame, as_rgb
from facerestore.video.planes import with_picture


def soft_clip(count=3, *, side=96):
    noise = np.random.default_rng(0).uniform(0, 255, (count, side, side, 3)).astype(np.float32)
    soft = np.stack([cv2.GaussianBlur(frame, (0, 0), 5) for frame in noise])
    return np.rint(128 + 4 * (soft - soft.mean())).clip(20, 235).astype(np.uint8)


@pytest.mark.parametrize(("codec", "quantizer"), [("libx264", 4), ("mpeg4", 2), ("mpeg2video", 2)])
def test_compression_does_not_change_the_light(codec, quantizer):
    clip = soft_clip()
    after = recompress(clip, codec=codec, quantizer=quantizer)
    assert after.shape == clip.shape
    assert np.abs((after.astype(float) - clip).mean((0, 1, 2))).max() < 0.35


def test_a_frame_that_went_through_rgb_many_times_is_no_darker():
    first = as_frame(soft_clip()[0]).reformat(format="yuv420p")
    first.pts, first.time_base = 0, Fraction(1, 25)
    frame = first
    for _ in range(5):
        frame = with_picture(frame, as_rgb(frame))
    for one, other in zip(first.planes, frame.planes, strict=True):
        away = np.frombuffer(other, np.uint8).astype(float) - np.frombuffer(one, np.uint8)
        assert abs(away.mean()) < 0.15
