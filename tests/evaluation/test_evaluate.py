"""Films compared with films, from the files to the scores."""

from itertools import islice

import av
import cv2
import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio

from facerestore.errors import BadInputError, ModelError, UsageError
from facerestore.evaluation.evaluate import Instruments, evaluate, load_instruments
from facerestore.evaluation.meters import Pictures
from facerestore.evaluation.networks import (
    Identity,
    Keypoints,
    Perceptual,
    load_identity,
    load_perceptual,
)
from facerestore.evaluation.views import View
from facerestore.faces.detect import load_detector
from facerestore.faces.landmarks import Points
from facerestore.video.simple import write_rgb

CPU = torch.device("cpu")
ALEXNET = "alexnet-owt-7be5be79.pth"


@pytest.fixture(scope="module")
def instruments():
    loaded = Instruments(load_detector("centerface"), CPU)
    return lambda: loaded


@pytest.fixture(scope="module")
def dim(example_pictures):
    """Six frames with room above."""
    return [np.minimum(picture, 235) for picture in example_pictures[:6]]


@pytest.fixture
def make_exact(make_film):
    """A function that writes pictures as a film that gives back these very RGB codes."""
    return lambda name, pictures: make_film(name, pix_fmt="bgr0", pictures=pictures)


def test_a_film_is_equal_to_itself(make_exact, dim, instruments):
    film = make_exact("a.mkv", dim)
    scores = evaluate(film, film, instruments=instruments)
    assert (scores.frames, scores.views, scores.equal) == (6, 6, 6)
    assert scores.psnr is None
    assert scores.ssim == pytest.approx(1.0)
    assert scores.temporal_error == 0
    assert scores.eyes_distance == scores.mouth_distance == 0
    assert scores.landmark_views == 6
    assert any("6 of 6 views are equal" in text for text in scores.warnings)


def test_an_offset_is_measured_in_both_regions(make_exact, dim, instruments):
    ref = make_exact("ref.mkv", dim)
    out = make_exact("out.mkv", [picture + np.uint8(10) for picture in dim])
    for region in ("face", "frame"):
        scores = evaluate(out, ref, region=region, instruments=instruments)
        assert scores.region == region
        assert scores.psnr == pytest.approx(20 * np.log10(25.5), abs=0.02)
        assert scores.temporal_error == pytest.approx(0, abs=0.02)
        assert scores.unpaired_out == scores.unpaired_ref == scores.equal == 0


def test_flicker_is_a_temporal_error_of_its_size(make_exact, dim, instruments):
    ref = make_exact("ref.mkv", dim)
    out = make_exact("out.mkv", [p + np.uint8(4 * (n % 2)) for n, p in enumerate(dim)])
    scores = evaluate(out, ref, region="frame", instruments=instruments)
    assert scores.temporal_error == pytest.approx(4)
    assert scores.equal == 3
    assert scores.psnr == pytest.approx(20 * np.log10(255 / 4))


def test_moved_points_are_told_in_eye_distances(make_exact, dim, instruments):
    ref = make_exact("ref.mkv", dim)
    out = make_exact("out.mkv", [np.roll(picture, 24, axis=1) for picture in dim])
    face = instruments().detector.detect(np.ascontiguousarray(dim[0][..., ::-1]))[0].landmarks
    expected = 24 / np.linalg.norm(face[1] - face[0])
    scores = evaluate(out, ref, instruments=instruments)
    assert scores.eyes_distance == pytest.approx(expected, rel=0.15)
    assert scores.mouth_distance == pytest.approx(expected, rel=0.15)


def test_a_face_that_is_gone_is_counted(make_exact, dim, instruments):
    ref = make_exact("ref.mkv", dim)
    out = make_exact("out.mkv", [*dim[:4], *[np.full_like(dim[0], 90)] * 2])
    scores = evaluate(out, ref, instruments=instruments)
    assert (scores.landmark_views, scores.found_in_one) == (4, 2)
    assert any("in 2 views the detector" in text for text in scores.warnings)


def test_holes_are_measured_apart(make_exact, dim, instruments, tmp_path):
    mask = np.zeros(dim[0].shape[:2], np.uint8)
    mask[100:260, 200:440] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    filled = [picture + np.where(mask, 20, 0).astype(np.uint8)[..., None] for picture in dim]
    ref, out = make_exact("ref.mkv", dim), make_exact("out.mkv", filled)
    mask_path = tmp_path / "mask.png"
    scores = evaluate(out, ref, region="frame", mask=mask_path, instruments=instruments)
    assert scores.hole_psnr == pytest.approx(20 * np.log10(255 / 20))
    share = 10 * np.log10((mask > 0).mean())
    assert scores.psnr == pytest.approx(20 * np.log10(255 / 20) - share)
    assert scores.hole_temporal_error == pytest.approx(0)
    assert scores.hole_views == 6
    face = evaluate(out, ref, mask=mask_path, instruments=instruments)
    assert face.hole_psnr == pytest.approx(20 * np.log10(255 / 20), abs=0.5)
    cv2.imwrite(str(mask_path), np.zeros_like(mask))
    empty = evaluate(out, ref, region="frame", mask=mask_path, instruments=instruments)
    assert empty.hole_psnr is empty.hole_ssim is None
    assert any("no hole" in text for text in empty.warnings)


def test_a_shorter_film_is_compared_as_far_as_it_goes(make_exact, dim, instruments):
    out, ref = make_exact("out.mkv", dim[:5]), make_exact("ref.mkv", dim)
    scores = evaluate(out, ref, instruments=instruments)
    assert (scores.frames, scores.unpaired_out, scores.unpaired_ref) == (5, 0, 1)
    assert any("frames left out: 1;" in text for text in scores.warnings)


def test_there_is_no_temporal_error_across_a_cut_or_a_gap():
    def view(thread, frame, code):
        out = np.full((16, 16, 3), code, np.uint8)
        return View(thread, frame, out, np.full_like(out, 100))

    meter = Pictures()
    for thread, frame, code in [(0, 0, 100), (0, 1, 103), (1, 2, 200), (1, 3, 203), (1, 5, 90)]:
        meter.push(view(thread, frame, code))
    assert meter.results()["temporal_error"] == pytest.approx(3)
    assert meter.temporal == [3, 3]


def test_two_faces_of_one_frame_do_not_mix():
    meter = Pictures()
    for frame in range(3):
        for thread, code in ((0, 100), (1, 180)):
            out = np.full((16, 16, 3), code, np.uint8)
            meter.push(View(thread, frame, out, np.full_like(out, 90)))
    assert meter.temporal == [0, 0, 0, 0]


def test_films_without_a_face_name_the_remedy(make_exact, dim, instruments):
    film = make_exact("grey.mkv", [np.full_like(dim[0], 90)] * 4)
    with pytest.raises(BadInputError, match="--region frame"):
        evaluate(film, film, instruments=instruments)
    assert evaluate(film, film, region="frame", instruments=instruments).views == 4


@pytest.mark.parametrize("how", [{"region": "nose"}, {"size": 8}])
def test_impossible_wishes_are_refused(tmp_path, how):
    with pytest.raises(UsageError):
        evaluate(tmp_path / "a.mp4", tmp_path / "b.mp4", **how)


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """No models, no weights."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("FACERESTORE_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("FACERESTORE_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path


def test_missing_weights_are_told_and_nothing_is_downloaded(bare):
    found = load_instruments("cpu")
    assert found.identity is None
    assert found.perceptual is None
    identity, perceptual, landmarks, video = found.missing
    assert "models pull svfr" in identity
    assert "alignment_WFLW_4HG.pth" in landmarks
    assert "models pull i3d" in video
    assert load_instruments("cpu", alone=True).missing == (identity,)
    assert ALEXNET in perceptual
    assert "torch/hub/checkpoints" in perceptual
    assert not (bare / "torch").exists()


def test_lpips_is_that_of_the_authors(bare, dim):
    import lpips
    from torchvision.models import alexnet

    folder = bare / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    stand_in = alexnet()  # nothing was learned; their own weights over it are in the package
    torch.save(stand_in.state_dict(), folder / ALEXNET)
    network, _ = load_perceptual(CPU)
    theirs = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False).eval()
    layers = iter(layer for layer in stand_in.features if isinstance(layer, torch.nn.Conv2d))
    for layer in theirs.net.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.load_state_dict(next(layers).state_dict())
    out, ref = dim[0][:128, :128], dim[4][:128, :128]
    meter = Perceptual(network, CPU)
    meter.push(View(0, 0, out, ref))
    a, b = (torch.from_numpy(p).permute(2, 0, 1)[None] / 127.5 - 1 for p in (out, ref))
    with torch.inference_mode():
        expected = float(theirs(a, b))
    assert meter.results()["lpips"] == pytest.approx(expected, rel=1e-3)


def test_lpips_without_torchmetrics_names_the_extra(monkeypatch):
    monkeypatch.setattr("facerestore.evaluation.networks.find_spec", lambda name: None)
    network, why = load_perceptual(CPU)
    assert network is None
    assert "facerestore[metrics]" in why


def test_lpips_is_that_of_torchmetrics(bare, dim):
    from torchmetrics.functional.image import learned_perceptual_image_patch_similarity
    from torchvision.models import alexnet

    folder = bare / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    torch.save(alexnet().state_dict(), folder / ALEXNET)  # a stand-in: nothing was learned
    network, why = load_perceptual(CPU)
    assert why == ""
    meter = Perceptual(network, CPU)
    pairs = [(dim[0][:128, :128], dim[4][:128, :128]), (dim[1][:128, :128], dim[5][:128, :128])]
    for number, (out, ref) in enumerate(pairs):
        meter.push(View(0, number, out, ref))
    a, b = (
        torch.from_numpy(np.stack(p)).permute(0, 3, 1, 2) / 255 for p in zip(*pairs, strict=True)
    )
    theirs = learned_perceptual_image_patch_similarity(a, b, net_type="alex", normalize=True)
    assert meter.results()["lpips"] == pytest.approx(float(theirs), rel=1e-4)
    (folder / ALEXNET).write_bytes(b"broken")
    with pytest.raises(ModelError, match="not AlexNet"):
        load_perceptual(CPU)


class Directions:
    """Stands in for ArcFace: a picture's vector points where its mean colour says."""

    def look(self, pictures, landmarks):
        assert all(points.shape == (5, 2) for points in landmarks)
        return torch.from_numpy(np.stack([picture.mean((0, 1)) for picture in pictures]))

    def vectors(self, faces):
        return torch.nn.functional.normalize(faces, dim=-1)


def test_identity_is_a_cosine_and_its_steadiness_a_distance():
    def view(frame, out):
        picture = np.zeros((8, 8, 3), np.uint8) + np.array(out, np.uint8)
        ref = np.zeros((8, 8, 3), np.uint8) + np.array([100, 0, 0], np.uint8)
        return View(0, frame, picture, ref, landmarks=np.zeros((5, 2)))

    meter = Identity(Directions())
    for frame, out in enumerate([(100, 0, 0), (100, 100, 0), (0, 50, 0)]):
        meter.push(view(frame, out))
    results = meter.results()
    step = 2 * np.sin(np.pi / 8)  # unit vectors 45 degrees apart
    assert results["ids"] == pytest.approx((1 + np.sqrt(0.5) + 0) / 3)
    assert results["vidd"] == pytest.approx(step)
    assert results["ref_vidd"] == pytest.approx(0)
    unit = np.array([[1, 0], [np.sqrt(0.5), np.sqrt(0.5)], [0, 1]])
    middle = unit.mean(axis=0) / np.linalg.norm(unit.mean(axis=0))
    assert results["identity_drift"] == pytest.approx(1 - (unit @ middle).mean())
    assert results["ref_identity_drift"] == pytest.approx(0)


def test_keypoints_are_told_in_pixels_of_256():
    """Landmarks of a stand-in: the rim of a picture, moved by what its first sample says."""

    def find(frames, five):
        assert five.shape == (2, 5, 2)
        points = np.zeros((2, 68, 2))
        points[:, 36:48, 0] += frames[:, 0, 0, 0, None]
        points[:, 48:68, 1] += frames[:, 0, 0, 1, None]
        return points

    meter, ref = Keypoints(Points(68, find)), np.zeros((128, 128, 3), np.uint8)
    for frame, (eyes, lips) in enumerate([(3, 4), (5, 0)]):
        out = ref.copy()
        out[0, 0, :2] = eyes, lips
        meter.push(View(0, frame, out, ref, landmarks=np.zeros((5, 2))))
    results = meter.results()
    assert results["akd_eyes"] == pytest.approx(2 * 4)
    assert results["akd_lips"] == pytest.approx(2 * 2)
    assert results["akd_face"] == pytest.approx((12 * 8 + 20 * 4) / 68)


def test_a_film_alone_is_measured(make_exact, dim, instruments, with_identity):
    film = make_exact("a.mkv", dim)
    tools = Instruments(instruments().detector, CPU, load_identity(CPU))
    scores = evaluate(film, instruments=lambda: tools)
    assert scores.ref is None
    assert (scores.frames, scores.views) == (6, 6)
    assert scores.psnr is scores.ids is scores.eyes_distance is scores.ref_vidd is None
    assert scores.sharpness > 0
    assert scores.vidd > 0
    assert 0 < scores.identity_drift < 1
    flicker = make_exact("f.mkv", [p + np.uint8(12 * (n % 2)) for n, p in enumerate(dim)])
    flickers = evaluate(flicker, instruments=lambda: tools, region="frame")
    steady = evaluate(film, instruments=lambda: tools, region="frame")
    assert flickers.warp_error > steady.warp_error + 0.8 * (12 / 255) ** 2 * 1000
    with pytest.raises(UsageError, match="--mask is of use with a true film only"):
        evaluate(film, mask=film, instruments=lambda: tools)


@pytest.fixture
def with_identity(bare):
    """A model folder of the released layout with random weights, installed."""
    from dataclasses import replace

    from facerestore.models.convert import RELEASED, random_networks
    from facerestore.models.weights import save_model

    config = replace(RELEASED, name="tiny", size=64, window=4, overlap=1, steps=2, first_steps=3)
    folder = bare / "models" / "tiny"
    save_model(folder, random_networks(64, dtype=torch.float32), config)
    return folder


def test_identity_is_measured_where_a_model_has_it(with_identity, make_exact, dim, instruments):
    network = load_identity(CPU)
    tools = Instruments(instruments().detector, CPU, network)
    film = make_exact("a.mkv", dim[:5])
    scores = evaluate(film, film, instruments=lambda: tools)
    assert scores.ids == pytest.approx(1)
    assert scores.vidd == scores.ref_vidd > 0
    weights = with_identity / "identity" / "arcface.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(ModelError, match="damaged"):
        load_identity(CPU)


def test_a_real_clip_encoded_again_is_near_itself(clips, tmp_path, instruments):
    source = clips / "clean_s32_wide.mp4"
    with av.open(str(source)) as film:
        rate, base = film.streams.video[0].average_rate, 1 / film.streams.video[0].average_rate
        pictures = [f.to_ndarray(format="rgb24") for f in islice(film.decode(video=0), 10)]
    noise = np.random.default_rng(0).normal(0, 6, pictures[0].shape)
    noisy = [np.clip(picture + noise, 0, 255).astype(np.uint8) for picture in pictures]
    ref, out = tmp_path / "ref.mp4", tmp_path / "out.mp4"
    for path, frames in ((ref, pictures), (out, noisy)):
        write_rgb(path, frames, pts=range(10), time_base=base, rate=rate)
    whole = evaluate(out, ref, region="frame", instruments=instruments)
    decoded = []
    for path in (out, ref):
        with av.open(str(path)) as film:
            decoded.append([f.to_ndarray(format="rgb24") for f in film.decode(video=0)])
    plain = np.mean(
        [peak_signal_noise_ratio(b, a, data_range=255) for a, b in zip(*decoded, strict=True)]
    )
    assert whole.psnr == pytest.approx(plain, abs=0.5)  # FFmpeg enlarges chroma in another way
    face = evaluate(out, ref, instruments=instruments)
    assert face.views == face.landmark_views == 10
    assert 25 < face.psnr < 40
    assert 0.5 < face.ssim < 0.99
    assert face.eyes_distance < 0.1
    assert face.found_in_one == 0
