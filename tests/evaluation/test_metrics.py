"""Measures of pictures: closed forms, laws, and the numbers of independent implementations."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional.image import (
    peak_signal_noise_ratio as torch_psnr,
)
from torchmetrics.functional.image import (
    structural_similarity_index_measure as torch_ssim,
)

from facerestore.evaluation.metrics import chroma_psnr, psnr, ssim, temporal_error

SEEDS = st.integers(0, 2**32 - 1)


def clip(seed=0, shape=(3, 24, 32)):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def pair(example_pictures):
    """The example's frames, and the same with noise."""
    ref = np.stack(example_pictures[:3])
    noise = np.random.default_rng(0).normal(0, 9, ref.shape)
    return np.clip(ref + noise, 0, 255).astype(np.uint8), ref


def test_psnr_and_ssim_are_those_of_scikit_image(pair):
    out, ref = pair
    for number, (psnr_here, ssim_here) in enumerate(
        zip(psnr(out, ref), ssim(out, ref), strict=True)
    ):
        here, true = out[number], ref[number]
        assert psnr_here == pytest.approx(
            peak_signal_noise_ratio(true, here, data_range=255), abs=1e-4
        )
        theirs = structural_similarity(
            true,
            here,
            data_range=255,
            channel_axis=2,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        assert ssim_here == pytest.approx(theirs, abs=1e-4)


def test_psnr_and_ssim_are_those_of_torchmetrics(pair):
    out, ref = pair
    a, b = (torch.from_numpy(clip[:1, :96, :128]).permute(0, 3, 1, 2).double() for clip in pair)
    small = np.s_[:1, :96, :128]
    theirs = torch_psnr(a, b, data_range=255.0)
    assert psnr(out[small], ref[small])[0] == pytest.approx(float(theirs), abs=1e-4)
    _, full = torch_ssim(a, b, data_range=255.0, return_full_image=True)  # its mean has the border
    inner = full[..., 5:-5, 5:-5].mean()
    assert ssim(out[small], ref[small])[0] == pytest.approx(float(inner), abs=1e-4)


@given(SEEDS, st.integers(1, 120))
def test_a_constant_offset_has_the_psnr_of_its_size(seed, offset):
    ref = clip(seed) // 2
    out = ref + np.uint8(offset)
    assert psnr(out, ref) == pytest.approx(20 * np.log10(255 / offset))
    assert np.isposinf(chroma_psnr(out, ref)).all()  # grey: brightness has no part in it


def test_a_change_of_blue_has_the_chroma_psnr_of_its_matrix():
    ref = np.full((1, 8, 8, 3), 100, np.uint8)
    out = ref + np.array([0, 0, 20], np.uint8)
    cb, cr = 20 * 0.5, 20 * -0.114 / 1.402  # ITU-R BT.601
    assert chroma_psnr(out, ref)[0] == pytest.approx(10 * np.log10(255**2 / ((cb**2 + cr**2) / 2)))


def test_equal_clips_are_perfect():
    ref = clip()
    assert np.isposinf(psnr(ref, ref)).all()
    assert ssim(ref, ref) == pytest.approx(1.0)
    assert (temporal_error(ref, ref) == 0).all()


@given(SEEDS, SEEDS)
def test_errors_are_symmetric(one, other):
    a, b = clip(one), clip(other)
    for measure in (psnr, chroma_psnr, temporal_error):
        assert measure(a, b) == pytest.approx(measure(b, a))


@given(SEEDS, st.integers(0, 100))
def test_what_does_not_flicker_has_no_temporal_error(seed, offset):
    ref = clip(seed) // 2
    assert (temporal_error(ref + np.uint8(offset), ref) == 0).all()


def test_a_flickering_film_has_the_temporal_error_of_its_flicker():
    still = np.full((6, 8, 8, 3), 100, np.uint8)
    flickers = still + (np.arange(6) % 2 * 4).astype(np.uint8)[:, None, None, None]
    assert temporal_error(flickers, still) == pytest.approx([4.0] * 5)
    assert temporal_error(flickers, flickers) == pytest.approx([0.0] * 5)


def test_holes_are_measured_alone():
    ref = clip(shape=(2, 32, 40)) // 2
    out, holes = ref.copy(), np.zeros((2, 32, 40), bool)
    out[1, 8:24, 8:24] += 10
    holes[1, 8:24, 8:24] = True
    for measure in (psnr, ssim, chroma_psnr):
        assert np.isnan(measure(out, ref, holes=holes)[0])
    assert psnr(out, ref, holes=holes)[1] == pytest.approx(20 * np.log10(25.5))
    assert psnr(out, ref)[1] == pytest.approx(20 * np.log10(25.5) + 10 * np.log10(32 * 40 / 256))
    assert temporal_error(out, ref, holes=holes) == pytest.approx([10.0])
    assert ssim(out, ref, holes=holes)[1] < ssim(out, ref)[1] < 1
    assert np.isposinf(psnr(out, ref, holes=~holes)).all()


@pytest.mark.parametrize(
    "wrong", [clip(1, (2, 24, 32)), clip(1).astype(float), clip(1)[..., :2], clip(1)[0]]
)
def test_clips_that_do_not_fit_are_refused(wrong):
    for measure in (psnr, ssim, chroma_psnr, temporal_error):
        with pytest.raises(ValueError, match="expected"):
            measure(clip(), wrong)
    with pytest.raises(ValueError, match="expected bool"):
        psnr(clip(), clip(), holes=np.ones((3, 24, 30), bool))
