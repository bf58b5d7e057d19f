"""Optical flow, warp error, Frechet distance: closed forms and independent implementations."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from facerestore.errors import ModelError
from facerestore.evaluation import fvd
from facerestore.evaluation.flow import flow_between, seen_in_both, warp_error, warped
from facerestore.evaluation.fvd import Clips, frechet_distance, load_video_network, pooled_fvd
from facerestore.evaluation.motion import Sharpness, Warp
from facerestore.evaluation.views import View
from facerestore.faces.identity import crop_sharpness
from facerestore.models import files
from facerestore.models.files import WeightFile, sha256

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def face(example_pictures):
    return np.ascontiguousarray(example_pictures[0][52:308, 192:448])


def shifted(picture, x):
    """The part of a picture that begins at column 16 + x."""
    return np.ascontiguousarray(picture[:, 16 + x : 16 + x + 200])


def test_a_shift_is_found_and_undone(face):
    first, second = shifted(face, 0), shifted(face, -5)
    flow = flow_between(first, second)
    inner = np.s_[30:-30, 30:-30]
    assert np.median(flow[inner][..., 0]) == pytest.approx(5, abs=0.3)
    assert np.median(flow[inner][..., 1]) == pytest.approx(0, abs=0.3)
    exact = np.zeros((*first.shape[:2], 2), np.float32)
    exact[..., 0] = 5
    back = warped(second.astype(np.float32), exact)
    assert (back[:, :-5] == first[:, :-5]).all()
    seen = seen_in_both(exact, -exact)
    assert seen[:, :-5].all()
    assert not seen[:, -5:].any()  # they have left the picture
    assert warp_error(first, second, exact, seen) == 0


def test_what_moves_otherwise_is_not_seen_in_both():
    there = np.zeros((20, 20, 2), np.float32)
    back = there.copy()
    back[5:10, 5:10, 1] = 2  # ends two pixels away from where it began
    seen = seen_in_both(there, back)
    assert not seen[5:10, 5:10].any()
    assert seen.sum() == 400 - 25


def test_flicker_has_the_warp_error_of_its_size():
    first = np.full((32, 32, 3), 100, np.uint8)
    still = np.zeros((32, 32, 2), np.float32)
    everywhere, nowhere = np.ones((32, 32), bool), np.zeros((32, 32), bool)
    error = warp_error(first, first + np.uint8(51), still, everywhere)
    assert error == pytest.approx(0.2**2 * 1000)
    assert np.isnan(warp_error(first, first, still, nowhere))
    with pytest.raises(ValueError, match="of one size"):
        warp_error(first, first[:16], still, everywhere)


def test_the_motion_of_the_reference_is_that_of_both(face):
    meter = Warp()
    rng = np.random.default_rng(0)
    for number, x in enumerate((0, 2, 4)):
        ref = shifted(face, x)
        noise = rng.integers(-20, 21, (200, 200, 1)) if number % 2 else 0
        out = np.clip(ref[:200].astype(int) + noise, 0, 255).astype(np.uint8)
        meter.push(View(0, number, out, ref[:200]))
    results = meter.results()
    uniform = ((41**2 - 1) / 12) / 255**2 * 1000  # the variance of the noise
    assert results["ref_warp_error"] < 0.1 * uniform
    assert results["warp_error"] == pytest.approx(uniform, rel=0.35)


def test_there_is_no_warp_error_across_a_cut(face):
    meter = Warp()
    for thread, frame in ((0, 0), (1, 1), (1, 3)):
        meter.push(View(thread, frame, face, face))
    assert meter.results() == {"warp_error": None, "ref_warp_error": None, "views": 3}


def test_sharpness_is_that_of_both_films(face):
    import cv2

    meter, soft = Sharpness(), cv2.GaussianBlur(face, (0, 0), 3)
    meter.push(View(0, 0, soft, face))
    results = meter.results()
    assert results["ref_sharpness"] == crop_sharpness(face) > 2 * results["sharpness"]


def test_the_distance_of_gaussians_along_the_axes():
    """Between N(m, diag s^2) and N(n, diag t^2) it is |m - n|^2 + sum (s - t)^2."""
    corners = np.array([[a, b, c] for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)], float)
    unit = corners / np.sqrt(8 / 7)  # unbiased variance 1 along each axis, none across
    s, t = np.array([1.0, 2.0, 0.5]), np.array([3.0, 2.0, 0.0])
    apart = np.array([1.0, -2.0, 4.0])
    expected = 21 + 4 + 0 + 0.25
    assert frechet_distance(unit * s, unit * t + apart) == pytest.approx(expected)
    assert frechet_distance(unit, unit) == pytest.approx(0, abs=1e-9)


@given(st.integers(0, 2**32 - 1), st.integers(2, 30), st.integers(2, 30))
def test_the_distance_is_that_of_the_matrix_root(seed, n, m):
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(6, 6))
    a, b = rng.normal(size=(n, 6)) @ mix, rng.normal(size=(m, 6)) + 1
    # a little of everything, or scipy's root of a singular matrix is not exact
    first, second = (np.cov(part, rowvar=False) + 1e-7 * np.eye(6) for part in (a, b))
    root = np.trace(sqrtm(first @ second).real)
    apart = ((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum()
    theirs = apart + np.trace(first) + np.trace(second) - 2 * root
    assert frechet_distance(a, b) == pytest.approx(theirs, rel=1e-3, abs=1e-2)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a))


def test_the_distance_is_that_of_torchmetrics():
    from torchmetrics.image.fid import _compute_fid

    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(60, 8)) * 3, rng.normal(size=(50, 8)) + 2
    pairs = [(torch.tensor(part.mean(axis=0)), torch.tensor(np.cov(part.T))) for part in (a, b)]
    theirs = float(_compute_fid(*pairs[0], *pairs[1]))
    assert frechet_distance(a, b) == pytest.approx(theirs, rel=1e-6)


def test_one_clip_has_no_distance():
    with pytest.raises(ValueError, match=r"n, m >= 2, got \(1, 4\)"):
        frechet_distance(np.zeros((1, 4)), np.zeros((3, 4)))
    assert pooled_fvd([]) is None
    assert pooled_fvd([(np.zeros((1, 4)), np.zeros((1, 4))), (np.empty(0), np.empty(0))]) is None


class MeanColour(torch.nn.Module):
    """Stands in for I3D: a clip's mean colour, and how much it changes."""

    def forward(
        self, x: torch.Tensor, rescale: bool = False, resize: bool = False,
        return_features: bool = False,
    ) -> torch.Tensor:  # fmt: skip
        assert rescale and resize and return_features
        change = (x[:, :, 1:] - x[:, :, :-1]).abs()
        return torch.cat([x.mean(dim=[2, 3, 4]), change.mean(dim=[2, 3, 4])], dim=1)


@pytest.fixture
def network(tmp_path, monkeypatch):
    """The stand-in where I3D belongs, its sum known."""
    monkeypatch.setenv("FACERESTORE_MODELS", str(tmp_path))
    url = files.FILES["i3d"].url
    torch.jit.script(MeanColour()).save(str(tmp_path / "i3d_torchscript.pt"))
    known = WeightFile("i3d", url, sha256(tmp_path / "i3d_torchscript.pt"), "")
    monkeypatch.setitem(fvd.FILES, "i3d", known)
    return known


def clips_of(look, codes):
    """A meter that has seen flat frames of these codes in OUT, black ones in REF."""
    meter = Clips(look)
    for frame, code in enumerate(codes):
        out = np.full((32, 32, 3), code, np.uint8)
        meter.push(View(0, frame, out, np.zeros_like(out)))
    return meter


def test_clips_of_sixteen_frames_are_compared(network):
    look, why = load_video_network(CPU)
    assert why == ""
    meter = clips_of(look, [10] * 16 + [30] * 16 + [200] * 9)
    results = meter.results()
    assert results["fvd_clips"] == 2
    assert results["fvd"] == pytest.approx(3 * 20**2 + 3 * 200)  # mean 20, variance 200, thrice
    one = [clips_of(look, [code] * 16) for code in (10, 30)]
    assert one[0].results() == {"fvd": None, "fvd_clips": 1}
    assert pooled_fvd([meter.features for meter in one]) == pytest.approx(results["fvd"])
    flickering = clips_of(look, [10, 12] * 8 + [30, 32] * 8)
    still = clips_of(look, [11] * 16 + [31] * 16)
    assert flickering.results()["fvd"] > still.results()["fvd"] + 3 * 3.9


def test_a_gap_begins_a_clip_anew(network):
    look, _ = load_video_network(CPU)
    meter = Clips(look)
    picture = np.zeros((8, 8, 3), np.uint8)
    for frame in [*range(10), *range(11, 27)]:
        meter.push(View(0, frame, picture, picture))
    assert meter.results()["fvd_clips"] == 1


def test_another_network_is_not_run(network, tmp_path, monkeypatch):
    network.path.write_bytes(network.path.read_bytes() + b"x")
    with pytest.raises(ModelError, match="its sum differs"):
        load_video_network(CPU)
    monkeypatch.setenv("FACERESTORE_MODELS", str(tmp_path / "none"))
    look, why = load_video_network(CPU)
    assert look is None
    assert why.startswith("FVD is not measured: get it with: facerestore models pull i3d, or put ")
    assert "\n" not in why
