"""From films and pictures to shards."""

import json
import tarfile

import av
import cv2
import numpy as np
import pytest
import webdataset
from skimage import data

from facerestore.errors import BadInputError, UsageError
from facerestore.faces.detect import load_detector
from facerestore.faces.landmarks import load_points, peaks
from facerestore.training import prepare as preparing
from facerestore.training.data import TEMPLATE_POINTS, read_frames, read_samples
from facerestore.training.prepare import Preparation, prepare
from facerestore.training.quality import sharpness_score

WISH = Preparation(size=64, frames=4, validation=0.0)


@pytest.fixture(scope="module")
def detector():
    return load_detector("centerface")


@pytest.fixture(scope="module")
def astronaut():
    """A picture file of a real face, BGR."""
    return np.ascontiguousarray(data.astronaut()[..., ::-1])


@pytest.fixture
def faces(tmp_path, astronaut):
    """A folder with two pictures of a face, and one without."""
    folder = tmp_path / "faces"
    (folder / "more").mkdir(parents=True)
    cv2.imwrite(str(folder / "a.jpg"), astronaut)
    cv2.imwrite(str(folder / "more" / "b.png"), astronaut[:, ::-1])
    cv2.imwrite(str(folder / "none.png"), np.full((90, 90, 3), 120, np.uint8))
    return folder


def facts(path):
    with tarfile.open(path) as tar:
        return {m.name: json.load(tar.extractfile(m)) for m in tar if m.name.endswith("json")}


def test_pictures_become_aligned_stills(faces, tmp_path, detector):
    said = []
    count = prepare([faces], tmp_path / "out", WISH, detector=detector, listen=said.append)
    assert (count.train, count.val, count.poor, count.failed) == (2, 0, 0, [])
    assert said[0] == "quality by sharpness; 5 landmarks a face"
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["train-000000.tar"]
    samples = read_samples([tmp_path / "out" / "train-000000.tar"])
    assert [s.facts["source"] for s in samples] == ["a.jpg", "b.png"]
    for sample in samples:
        landmarks = np.array(sample.facts["landmarks"])
        assert landmarks.shape == (1, 5, 2)
        assert np.abs(landmarks[0] - TEMPLATE_POINTS).max() < 0.12  # aligned as in training
        assert sample.facts["size"] == 64
        found = detector.detect(read_frames(sample, 256, [0])[0][..., ::-1])
        assert len(found) == 1
        assert np.abs(found[0].landmarks / 256 - landmarks[0]).max() < 0.03


def test_a_film_becomes_clips_of_frames(make_film, tmp_path, detector):
    film = make_film(count=10)
    count = prepare([film], tmp_path / "out", WISH, detector=detector)
    assert count.train == 2  # ten frames, four a clip
    path = tmp_path / "out" / "train-000000.tar"
    first, second = read_samples([path])
    assert len(first.members) == len(second.members) == 4
    assert (first.facts["first"], second.facts["first"]) == (0, 4)
    assert np.array(first.facts["landmarks"]).shape == (4, 5, 2)
    assert 0 <= first.facts["quality"] <= 1
    for landmarks in first.facts["landmarks"]:
        assert np.abs(np.array(landmarks) - TEMPLATE_POINTS).max() < 0.15
    (one, two) = webdataset.WebDataset(str(path), shardshuffle=False)
    assert sorted(k for k in one if "jpg" in k) == [f"{n:04d}.jpg" for n in range(4)]
    assert json.loads(two["json"])["first"] == 4


def test_tar_files_of_pictures_and_one_bad_member(faces, tmp_path, detector, pack):
    picture = (faces / "a.jpg").read_bytes()
    members = {"x/1.jpg": picture, "x/2.jpg": b"broken", "x/3.jpg": picture, "readme.txt": b"hello"}
    many = pack(tmp_path / "many.tar", members)
    count = prepare([many], tmp_path / "out", WISH, detector=detector)
    assert count.train == 2
    assert count.failed == ["many.tar/x/2.jpg: not a readable picture; remove it"]
    found = facts(tmp_path / "out" / "train-000000.tar").values()
    assert [f["source"] for f in found] == ["many.tar/x/1.jpg", "many.tar/x/3.jpg"]


def test_what_cannot_be_read_does_not_stop_the_rest(faces, tmp_path, detector):
    (faces / "0.mp4").write_bytes(b"no film")
    (faces / "0.tar").write_bytes(b"no tar")
    (faces / "0.jpg").write_bytes(b"")
    count = prepare([faces], tmp_path / "out", WISH, detector=detector)
    assert count.train == 2
    assert len(count.failed) == 3
    assert all("\n" not in text for text in count.failed)


def test_hdr_films_are_left_out(tmp_path, detector, example_pictures):
    path = tmp_path / "hdr.mkv"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        stream.codec_context.color_trc = 16  # PQ
        for picture in example_pictures[:5]:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(stream.encode(None))
    said = []
    with pytest.raises(BadInputError, match="no face clip"):
        prepare([path], tmp_path / "out", WISH, detector=detector, listen=said.append)
    assert "hdr.mkv: interlaced or HDR" in said[-1]


def test_nothing_found_writes_nothing(faces, tmp_path, detector):
    with pytest.raises(BadInputError, match="no face clip found"):
        prepare([faces / "none.png"], tmp_path / "out", WISH, detector=detector)
    assert not (tmp_path / "out").exists()
    with pytest.raises(BadInputError, match=r"gone\.jpg: no such file or folder"):
        prepare([faces / "gone.jpg"], tmp_path / "out", WISH, detector=detector)


def test_shards_are_never_written_over(faces, tmp_path, detector, pack):
    pack(tmp_path / "old.tar", {})
    with pytest.raises(UsageError, match="holds tar files already; name another folder"):
        prepare([faces], tmp_path, WISH, detector=detector)


def test_an_interrupted_preparation_leaves_no_half_file(faces, tmp_path):
    class Interrupted:
        calls = 0

        def detect(self, picture):
            self.calls += 1
            if self.calls > 1:
                raise KeyboardInterrupt
            return load_detector("centerface").detect(picture)

    with pytest.raises(KeyboardInterrupt):
        prepare([faces], tmp_path / "out", WISH, detector=Interrupted())
    assert list((tmp_path / "out").iterdir()) == []


def test_all_of_a_source_is_in_one_split(tmp_path, detector, astronaut):
    folder = tmp_path / "many"
    folder.mkdir()
    two = np.concatenate([astronaut[:300, 60:400]] * 2, axis=1)
    for n in range(12):
        cv2.imwrite(str(folder / f"{n}.jpg"), two)
    wish = Preparation(size=64, frames=1, validation=0.4)
    count = prepare([folder], tmp_path / "out", wish, detector=detector)
    assert count.train + count.val == 24
    found = {
        split: {f["source"] for f in facts(tmp_path / "out" / f"{split}-000000.tar").values()}
        for split in ("train", "val")
    }
    assert found["train"]
    assert found["val"]
    assert not found["train"] & found["val"]
    again = prepare([folder], tmp_path / "again", wish, detector=detector)
    assert (again.train, again.val) == (count.train, count.val)


def test_shards_hold_so_many_samples(faces, tmp_path, detector, monkeypatch):
    monkeypatch.setattr(preparing, "SHARD_SAMPLES", 1)
    prepare([faces], tmp_path / "out", WISH, detector=detector)
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert names == ["train-000000.tar", "train-000001.tar"]


def test_poor_clips_are_left_out_and_counted(faces, tmp_path, detector, astronaut):
    blurred = cv2.GaussianBlur(astronaut, (0, 0), 5)
    cv2.imwrite(str(faces / "blurred.jpg"), blurred)
    wish = Preparation(size=128, min_quality=0.5, validation=0.0)
    count = prepare([faces], tmp_path / "out", wish, detector=detector)
    assert (count.train, count.poor) == (2, 1)


def test_sharpness_falls_with_blur_and_not_with_contrast(astronaut):
    clear = astronaut[40:168, 160:288]
    scores = [
        sharpness_score(cv2.GaussianBlur(clear, (0, 0), s)[None])
        if s
        else sharpness_score(clear[None])
        for s in (0, 1, 2, 4)
    ]
    assert scores == sorted(scores, reverse=True)
    assert 0 < scores[-1] < 0.3 < scores[0] < 1
    pale = (clear * 0.5 + 60).astype(np.uint8)
    assert sharpness_score(pale[None]) == pytest.approx(scores[0], abs=0.15)
    assert sharpness_score(np.full((3, 64, 64, 3), 90, np.uint8)) == 0


def test_without_the_alignment_network_there_are_five_points(tmp_path, monkeypatch):
    monkeypatch.setenv("FACERESTORE_WEIGHTS", str(tmp_path))
    points = load_points()
    if points.count == 68:
        pytest.skip("facexlib's own folder has the alignment network")
    five = np.zeros((2, 5, 2))
    assert points.find(np.zeros((2, 64, 64, 3), np.uint8), five) is five


def test_a_damaged_alignment_network_is_one_sentence(tmp_path, monkeypatch):
    from facerestore.errors import ModelError

    (tmp_path / "alignment_WFLW_4HG.pth").write_bytes(b"broken")
    monkeypatch.setenv("FACERESTORE_WEIGHTS", str(tmp_path))
    with pytest.raises(ModelError, match=r"alignment_WFLW_4HG\.pth: does not load") as caught:
        load_points()
    assert "\n" not in str(caught.value)


def test_the_alignment_network_gives_sixty_eight_points(tmp_path, monkeypatch, astronaut):
    """With random weights of the right layout."""
    import torch
    from facexlib.alignment import FAN

    network = FAN(num_modules=4, num_landmarks=98, device="cpu")
    torch.save({"state_dict": network.state_dict()}, tmp_path / "alignment_WFLW_4HG.pth")
    monkeypatch.setenv("FACERESTORE_WEIGHTS", str(tmp_path))
    points = load_points()
    assert points.count == 68
    frames = cv2.resize(astronaut[:300, 60:360], (128, 128))[None, ..., ::-1]
    found = points.find(frames, np.zeros((1, 5, 2)))
    assert (found.shape, found.dtype) == ((1, 68, 2), np.float64)
    assert (found > 0).all()
    assert (found < 128).all()


def test_peaks_are_those_of_facexlib(monkeypatch):
    from facexlib.alignment.awing_arch import calculate_points

    heat = np.random.default_rng(0).uniform(0, 1, (98, 64, 64)).astype(np.float32)
    heat[:, :2], heat[:, -2:] = 0, 0  # facexlib errs at the edges
    heat[:, :, :2], heat[:, :, -2:] = 0, 0
    monkeypatch.setattr(np, "float", float, raising=False)  # it still asks for it
    assert np.abs(peaks(heat) * 64 - calculate_points(heat[None])[0]).max() < 1e-6


def test_a_peak_leans_to_its_brighter_neighbour():
    heat = np.zeros((3, 8, 4), np.float32)
    heat[0, 2, 1], heat[0, 2, 2], heat[0, 1, 1] = 1.0, 0.5, 0.2
    heat[1, 7, 3] = 1.0
    found = peaks(heat)
    assert found[0].tolist() == [1.75 / 4, 2.25 / 8]
    assert np.abs(found[1] - [3.5 / 4, 7.5 / 8]).max() <= 0.25 / 4
    assert found.dtype == np.float64
