"""Tar files to examples, and stills to moving clips with their landmarks."""

import io
import tarfile
from dataclasses import replace

import av
import cv2
import numpy as np
import pytest
import torch
import webdataset
from hypothesis import example, given, settings
from hypothesis import strategies as st

from facerestore.errors import BadInputError
from facerestore.training.batches import Batches, batches_from, find
from facerestore.training.config import Stage
from facerestore.training.data import (
    MIXES,
    Drawing,
    clean_clip,
    draw_example,
    five_points,
    knows_landmarks,
    read_frames,
    read_samples,
)
from facerestore.training.degrade import cut_out
from facerestore.training.motion import MIRRORED, TEMPLATE_POINTS, moving_clip
from facerestore.video.planes import crop_rgb

CPU = torch.device("cpu")
COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255))


def drawing(**changes):
    values = {
        "size": 64,
        "frames": 2,
        "zoomed": 0.0,
        "mixes": dict.fromkeys(MIXES, 1.0),
        "reference_dropout": 0.5,
        "pairs": True,
        "points": 5,
    }
    return Drawing(**(values | changes))


def rng(seed=0):
    return np.random.default_rng(seed)


def dots(side=256, radius=4):
    """A grey picture with a dot of its own colour at each template point."""
    picture = np.full((side, side, 3), 90, np.uint8)
    for (x, y), colour in zip(TEMPLATE_POINTS * side - 0.5, COLOURS, strict=True):
        at = (round(x * 16), round(y * 16))
        cv2.circle(picture, at, round(radius * 16), colour, -1, cv2.LINE_AA, 4)
    return picture


def centre_of(frame, colour):
    """Centre [2] of what has about this colour, first sample at 0.5, or None."""
    away = np.abs(frame.astype(int) - colour).sum(axis=-1)
    rows, columns = np.nonzero(away < 160)
    return np.array([columns.mean(), rows.mean()]) + 0.5 if len(rows) > 5 else None


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1.0, 2.0]))
@example(1924, 2.0)
def test_landmarks_follow_the_motion(seed, zoom):
    # a large dot is bent where a mouth moves: its middle is not where its centre went
    drawn = dots(radius=4 / zoom)
    frames, landmarks = moving_clip(drawn, n_frames=3, size=128, rng=rng(seed), zoom=zoom)
    assert landmarks.shape == (3, 5, 2)
    assert landmarks[0, 0, 0] < landmarks[0, 1, 0]  # the left eye stays left, also in a mirror
    seen = [centre_of(frames[0], colour) for colour in COLOURS[:2]]
    turned = all(at is not None for at in seen) and seen[0][0] > seen[1][0]
    if zoom == 1:
        assert all(at is not None for at in seen)
    elif any(at is None for at in seen):
        return  # zoomed away from the eyes: nobody knows whether it was mirrored
    order = MIRRORED[5] if turned else range(5)
    for frame, points in zip(frames, landmarks * 128, strict=True):
        for number, colour in zip(order, COLOURS, strict=True):
            if (points[number] > 10).all() and (points[number] < 118).all():
                found = centre_of(frame, colour)
                assert found is not None
                assert np.linalg.norm(found - points[number]) < 1.5


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1.0, 2.0]))
def test_a_clip_moves_smoothly_and_comes_again_from_its_seed(portrait, seed, zoom):
    picture = portrait(0)
    draws = [moving_clip(picture, n_frames=4, size=64, rng=rng(seed), zoom=zoom) for _ in range(2)]
    frames = draws[0][0].astype(int)
    assert frames.shape == (4, 64, 64, 3)
    assert np.array_equal(draws[0][0], draws[1][0])
    assert np.array_equal(draws[0][1], draws[1][1])
    steps = np.abs(np.diff(frames, axis=0)).mean(axis=(1, 2, 3))
    assert 0 < steps.max() < 40
    other, _ = moving_clip(picture, n_frames=4, size=64, rng=rng(seed + 1), zoom=zoom)
    assert not np.array_equal(other, draws[0][0])


def test_mirrored_landmarks_are_a_symmetry():
    for count, order in MIRRORED.items():
        assert sorted(order) == list(range(count))
        assert [order[n] for n in order] == list(range(count))
    assert MIRRORED[68][36] == 45  # outer corners of the eyes
    assert MIRRORED[68][48] == 54  # of the mouth
    assert MIRRORED[68][8] == 8  # chin
    assert MIRRORED[68][30] == 30  # tip of the nose


def test_unknown_landmarks_stay_unknown(portrait):
    unknown = np.full((68, 2), np.nan)
    for seed in range(4):
        _, found = moving_clip(portrait(0), n_frames=2, size=64, rng=rng(seed), points=unknown)
        assert found.shape == (2, 68, 2)
        assert np.isnan(found).all()


def test_five_points_of_sixty_eight():
    points = np.zeros((68, 2))
    points[36:42], points[42:48], points[30] = (1, 1), (3, 1), (2, 2)
    points[48], points[54] = (1, 3), (3, 3)
    assert five_points(points).tolist() == [[1, 1], [3, 1], [2, 2], [1, 3], [3, 3]]
    assert five_points(TEMPLATE_POINTS) is TEMPLATE_POINTS


def test_samples_are_stills_and_clips_in_name_order(shards, portrait):
    samples = read_samples([shards / "train.tar"])
    assert [(s.key, len(s.members)) for s in samples] == [
        *((str(n), 1) for n in range(4)),
        ("k", 5),
    ]
    assert np.array_equal(read_frames(samples[2], 256, [0])[0], portrait(2))
    clip = read_frames(samples[4], 256, [0, 3])
    assert np.array_equal(clip[1], np.roll(portrait(9), 6, axis=1))
    assert read_frames(samples[0], 64, [0]).shape == (1, 64, 64, 3)
    assert read_frames(samples[0], 512, [0]).shape == (1, 512, 512, 3)


def test_folders_in_names_may_have_dots(pack, portrait, tmp_path):
    members = {f"./faces.v1/{n}.png": portrait(n) for n in range(3)}
    members["./faces.v1/1.json"] = {"landmarks": TEMPLATE_POINTS[None].tolist()}
    samples = read_samples([pack(tmp_path / "a.tar", members)])
    assert [s.key for s in samples] == [f"./faces.v1/{n}" for n in range(3)]
    assert [bool(s.facts) for s in samples] == [False, True, False]


def test_webdataset_reads_the_same_samples(shards):
    path = str(shards / "train.tar")
    found = {s["__key__"]: s for s in webdataset.WebDataset(path, shardshuffle=False)}
    samples = {s.key: s for s in read_samples([shards / "train.tar"])}
    assert set(found) == set(samples)
    assert {key for key in found["k"] if key.endswith("png")} == {f"{n:04d}.png" for n in range(5)}
    with (shards / "train.tar").open("rb") as file:
        offset, length = samples["k"].members[3]
        file.seek(offset)
        assert file.read(length) == found["k"]["0003.png"]


def test_a_clip_is_walked_there_and_back(shards):
    clip = read_samples([shards / "train.tar"])[4]
    frames, landmarks = clean_clip(clip, 12, drawing(), rng(1), full=64)
    assert frames.shape == (12, 64, 64, 3)
    assert (
        np.array_equal(frames[:8], np.concatenate([frames[8:], frames[4:8]])) or len(frames) == 12
    )
    assert landmarks[0].tolist() == [[0.3, 0.5], [0.7, 0.5], [0.5, 0.6], [0.4, 0.7], [0.6, 0.7]]
    steps = np.abs(np.diff(frames.astype(int), axis=0)).mean(axis=(1, 2, 3))
    assert steps.max() < 3 * steps.min()  # never a jump


def test_a_zoomed_clip_shows_a_part_and_its_landmarks(shards):
    clip = read_samples([shards / "train.tar"])[4]
    frames, landmarks = clean_clip(clip, 3, drawing(zoomed=1.0, size=32), rng(), full=64)
    assert frames.shape == (3, 32, 32, 3)
    apart = landmarks[:, 1, 0] - landmarks[:, 0, 0]
    assert apart.tolist() == pytest.approx([0.8] * 3)  # twice 0.4


def test_landmarks_are_known_where_they_are(shards):
    samples = read_samples([shards / "train.tar"])
    assert all(knows_landmarks(sample, 5) for sample in samples)
    assert not any(knows_landmarks(sample, 68) for sample in samples)


def same(one, other):
    for name, value in vars(one).items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(value, getattr(other, name))
        else:
            assert value == getattr(other, name)


def test_an_example_comes_again_from_its_seed_and_number(shards):
    samples = read_samples([shards / "train.tar"])
    one, again = (draw_example(samples, drawing(), rng([5, 2]), full=64) for _ in range(2))
    same(one, again)
    assert one.other.shape == one.bad.shape == one.target.shape == (2, 64, 64, 3)
    assert one.landmarks.shape == (2, 5, 2)


def test_pairs_are_two_degradations_of_one_target(shards):
    samples = read_samples([shards / "train.tar"])
    pairs = [draw_example(samples, drawing(mixes={"bfr": 1.0}), rng(n), full=64) for n in range(8)]
    assert sum(np.array_equal(e.bad, e.other) for e in pairs) == 0
    alone = draw_example(samples, drawing(pairs=False), rng(0), full=64)
    assert alone.other is None


def test_references_and_mixes_are_drawn_as_told(shards):
    samples = read_samples([shards / "train.tar"])
    how = drawing(size=32, frames=1, mixes={"bfr": 3.0, "color,inpaint": 1.0})
    draws = [draw_example(samples, how, rng(n), full=32) for n in range(200)]
    assert np.mean([d.reference is None for d in draws]) == pytest.approx(0.5, abs=0.12)
    assert np.mean([d.tasks.bfr for d in draws]) == pytest.approx(0.75, abs=0.1)
    assert {str(d.tasks) for d in draws} == {"bfr", "color,inpaint"}
    always = [
        draw_example(samples, drawing(reference_dropout=0.0), rng(n), full=64) for n in (0, 1)
    ]
    assert all(d.reference is not None for d in always)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [1, 2])
def test_workers_make_no_difference(shards, config, workers):
    plain = config()
    samples = read_samples([shards / "train.tar"])
    many = replace(plain, data=replace(plain.data, workers=workers))
    for one, other in zip(
        batches_from(37, plain, samples, process=0, processes=1, device=CPU),
        batches_from(37, many, samples, process=0, processes=1, device=CPU),
        strict=True,
    ):
        assert (one.bad == other.bad).all()
        assert (one.target == other.target).all()
        assert (one.gamma == other.gamma).all()


def test_processes_share_the_batches_of_a_step(shards, config):
    samples, plain = read_samples([shards / "train.tar"]), config()
    first, second = (
        [b.bad for b in batches_from(38, plain, samples, process=p, processes=2, device=CPU)]
        for p in (0, 1)
    )
    whole = Batches(plain, samples, a_step=2)
    expected = [whole[n].bad for n in range(76, 80)]
    for found, number in ((first[0], 0), (second[0], 1), (first[1], 2), (second[1], 3)):
        assert (found == expected[number]).all()
    assert len(first) == len(second) == 2


def test_echoes_are_mirrored_in_turn_and_taken_up_in_their_midst(shards, config):
    samples, plain = read_samples([shards / "train.tar"]), config()
    plain = replace(plain, stages=(Stage(3, 32, 1, 2), Stage(7, 32, 2, 1)))
    loud = replace(plain, data=replace(plain.data, echoes=3))
    whole = list(batches_from(0, loud, samples, process=0, processes=1, device=CPU))
    assert [batch.bad.shape[:2] for batch in whole] == [(2, 1)] * 3 + [(1, 2)] * 4
    drawn = Batches(loud, samples, a_step=1)
    for step, batch in enumerate(whole):
        first = drawn[step // 3]
        expected = first.mirrored() if step % 3 == 1 else first
        assert torch.equal(batch.bad, expected.bad)
        assert torch.equal(batch.gamma, first.gamma)
    late = list(batches_from(4, loud, samples, process=0, processes=1, device=CPU))
    for batch, other in zip(whole[4:], late, strict=True):
        assert torch.equal(batch.bad, other.bad)


def test_clips_are_spoilt_as_films_and_then_cut_out(shards):
    """Faults have the film's size: those of large films are smaller in the crop."""
    samples = read_samples([shards / "train.tar"])
    still = {"mixes": {"inpaint": 1.0}, "pairs": False, "reference_dropout": 0.0}
    one = draw_example(samples, drawing(film=(2.0, 2.0), **still), rng(5), full=64)
    for frames in (one.target, one.bad, one.holes, one.reference[None]):
        assert frames.shape[1:3] == (64, 64)
    outside = ~one.holes
    assert np.array_equal(one.target[outside], one.bad[outside])
    assert np.abs(one.landmarks - 0.5).max() < 1
    blind = {"mixes": {"bfr": 1.0}, "pairs": False}
    sizes = {"small": (0.75, 0.75), "large": (2.25, 2.25)}
    away = {
        name: np.mean(
            [
                np.abs(e.target.astype(float) - e.bad).mean()
                for e in (
                    draw_example(samples, drawing(film=film, **blind), rng(n), full=64)
                    for n in range(40)
                )
            ]
        )
        for name, film in sizes.items()
    }
    assert away["large"] < away["small"]


@pytest.mark.parametrize("side", [48, 64, 100])
def test_a_crop_is_cut_out_as_restore_does_it(side):
    picture = np.random.default_rng(1).integers(0, 256, (side, side, 3), np.uint8)
    picture = cv2.GaussianBlur(picture, (0, 0), 1.5)
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
    matrix = np.array([[side / 64, 0.0, 0.0], [0.0, side / 64, 0.0]])
    expected = crop_rgb(frame, matrix, to_coded=np.eye(2, 3), size=64)
    found = cut_out(picture[None], 64)[0]
    assert np.abs(found.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_picture_is_one_sentence(pack, tmp_path, config, workers):
    samples = read_samples([pack(tmp_path / "a.tar", {"x.png": b"no picture", "y.png": b""})])
    plain = config()
    some = replace(plain, data=replace(plain.data, workers=workers))
    with pytest.raises(BadInputError, match=r"a\.tar: [xy] is not a readable picture") as caught:
        next(batches_from(0, some, samples, process=0, processes=1, device=CPU))
    assert "\n" not in str(caught.value)


def damaged(tmp_path, pack, portrait):
    whole = pack(tmp_path / "whole.tar", {"a.png": portrait(0), "b.png": portrait(1)}).read_bytes()
    yield "cut.tar", whole[: len(whole) // 3]
    yield "text.tar", b"this is no tar file" * 100
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("a.png"))
    yield "packed.tar", memory.getvalue()


def test_damaged_tar_files_are_one_sentence(tmp_path, pack, portrait):
    for name, content in damaged(tmp_path, pack, portrait):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(BadInputError, match=f"{name}: not a readable tar file") as caught:
            read_samples([path])
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("facts", [b"{", [1, 2], "words"])
def test_odd_facts_are_one_sentence(tmp_path, pack, portrait, facts):
    path = pack(tmp_path / "a.tar", {"a.png": portrait(0), "a.json": facts})
    with pytest.raises(BadInputError, match="not a readable tar file"):
        read_samples([path])


def test_ragged_landmarks_are_one_sentence(tmp_path, pack, portrait):
    path = pack(
        tmp_path / "a.tar", {"a.png": portrait(0), "a.json": {"landmarks": [[[1], [1, 2]]]}}
    )
    with pytest.raises(BadInputError, match=r"a\.tar: the landmarks of a are no table"):
        clean_clip(read_samples([path])[0], 2, drawing(), rng(), full=64)


def test_nothing_to_train_on(tmp_path, pack):
    with pytest.raises(BadInputError, match="no pictures to train on; make some with: train prep"):
        read_samples([pack(tmp_path / "a.tar", {"a.json": {}})])
    with pytest.raises(BadInputError, match=r"x-\*\.tar: no such file; is --data the right folder"):
        find(tmp_path, ["a.tar", "x-*.tar"])
    assert find(tmp_path, ["*.tar"]) == [tmp_path / "a.tar"]


def test_own_references_lie_between_the_spoilt_and_the_true_frame(shards):
    """What the model has made itself is not clean: it must not learn to trust every reference."""
    samples = read_samples([shards / "train.tar"])
    same = {"mixes": {"bfr": 1.0}, "pairs": False, "reference_dropout": 0.0, "frames": 1}
    between = 0
    for number in range(8):
        own = draw_example(samples, drawing(own_references=1.0, **same), rng(number), full=64)
        low, high = np.minimum(own.bad, own.target)[0], np.maximum(own.bad, own.target)[0]
        inside = (own.reference >= low).all() and (own.reference <= high).all()
        ends = [np.abs(own.reference.astype(int) - end[0]).max() for end in (own.bad, own.target)]
        between += bool(inside and min(ends) > 0)
    assert between >= 2  # about half are of the frame after the clip, whose ends are not shown
