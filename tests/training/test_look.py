"""What good films have of their own."""

import numpy as np
import pytest

from facerestore.evaluation.metrics import psnr
from facerestore.training import look
from facerestore.training.look import like_film


@pytest.fixture
def clip(portrait):
    return np.stack([portrait(1)] * 3)


def test_the_look_is_slight_and_comes_again_from_its_seed(clip):
    found = [like_film(clip, np.random.default_rng(seed)) for seed in range(12)]
    again = like_film(clip, np.random.default_rng(3))
    np.testing.assert_array_equal(again, found[3])
    untouched = sum((one == clip).all() for one in found)
    assert 0 < untouched < 8
    assert all(psnr(one, clip).mean() > 26 for one in found)


def test_grain_differs_from_frame_to_frame_and_has_its_level(clip, monkeypatch):
    monkeypatch.setattr(look, "SOFT_SHARE", 0)
    monkeypatch.setattr(look, "CODED_SHARE", 0)
    monkeypatch.setattr(look, "GRAIN_SHARE", 1)
    grey = np.full_like(clip, 128)
    for seed in range(5):
        out = like_film(grey, np.random.default_rng(seed)).astype(float)
        assert out.std() < look.GRAIN + 0.5
        if out.std() > 0.8:
            assert np.abs(np.diff(out, axis=0)).mean() > 0.3
