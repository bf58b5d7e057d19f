"""Compares this implementation with numbers recorded from the released SVFR code.

A folder holds small random models and what the authors' code made of them: forwards of every
network, scheduler tables, geometry, prepared frames and whole sampling runs step by step. See
`docs/parity.md` for its layout.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from facerestore.errors import ModelError
from facerestore.models import released
from facerestore.models.identity import MEAN_FACE, TEMPLATE, face_crop, similarity
from facerestore.models.recorded import (
    Recorded,
    conditions_of,
    enlarged,
    masked_pictures,
    recorded_identity,
    restorer_of,
    schedule_of,
)
from facerestore.models.sampling import karras_sigmas, scalings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from torch import Tensor

    from facerestore.models.identity import Identity
    from facerestore.models.svfr import SVFR

FORWARD, RUN, RUN_FLOAT64 = 1e-4, 2e-3, 1e-4  # largest absolute errors allowed
TABLE = 1e-5  # relative, of sigmas and timesteps
GEOMETRY = 1e-3  # px
ALIGNED = 0.005  # of aligned pictures in [-1, 1]: the rounding of OpenCV's 8-bit warp
ALIGNED_TOKENS = 0.05  # tokens of pictures that differ by that much
SPACING = float(np.finfo(np.float32).eps)  # recorded numbers are float32


@dataclass(frozen=True)
class Check:
    """One comparison: what, the largest absolute error, and how large it may be."""

    case: str
    error: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the error is a number within the tolerance."""
        return self.error <= self.tolerance

    def as_dict(self) -> dict[str, Any]:
        """For tables and JSON."""
        return {
            "case": self.case,
            "max_abs_error": self.error,
            "tolerance": self.tolerance,
            "pass": self.passed,
        }


def selfcheck(folder: Path, *, exactness: torch.dtype = torch.float32) -> Iterator[Check]:
    """Every comparison that the folder allows, in the order of the program.

    exactness: torch.float32 or torch.float64
    Raises ModelError for files that are absent, damaged or of the wrong shape.
    """
    recorded = Recorded(folder)
    try:
        recorded.check_files()
        yield from _checks(recorded, exactness)
    except (KeyError, IndexError, AttributeError, TypeError, ValueError) as error:
        raise ModelError(
            f"{recorded.last}: not laid out as expected ({type(error).__name__}: {error}); "
            "see docs/parity.md"
        ) from error


def _checks(recorded: Recorded, exactness: torch.dtype) -> Iterator[Check]:
    identity = recorded_identity(recorded, exactness)
    unet = recorded.network("unet", "unet", exactness)
    vae = recorded.network("vae", "vae", exactness)
    svfr = restorer_of(recorded, unet, vae, identity, exactness)
    with torch.inference_mode():
        yield from scheduler_checks(recorded)
        yield from geometry_checks(recorded)
        yield from frame_checks(recorded)
        yield from layout_checks(recorded)
        yield from identity_checks(recorded, identity)
        yield from vae_checks(recorded, svfr)
        yield from unet_checks(recorded, svfr)
        for name, case in recorded.facts("cases").items():
            yield from sampling_checks(name, case, recorded.tensors(name), svfr)


def error_of(got: Tensor, expected: Tensor) -> float:
    """Largest absolute difference; infinite where the shapes differ, NaN where a number is none."""
    if got.shape != expected.shape:
        return float("inf")
    return float((got.double() - expected.double()).abs().max())


def scheduler_checks(recorded: Recorded) -> Iterator[Check]:
    """Noise levels and the timesteps the network is told."""
    config = recorded.facts("scheduler_config")
    for name, expected in recorded.tensors("scheduler_tables").items():
        kind, steps = name.rsplit("_", 1)
        sigmas = karras_sigmas(
            int(steps), sigma_min=config["sigma_min"], sigma_max=config["sigma_max"]
        )
        got = sigmas if kind == "sigmas" else scalings(sigmas[:-1]).noise
        yield Check(
            f"scheduler {name}", error_of(got, expected), TABLE * float(expected.abs().max())
        )


def geometry_checks(recorded: Recorded) -> Iterator[Check]:
    """Alignment, union box, crop, and which face is taken."""
    facts = recorded.facts("geometry")
    mean = np.abs(MEAN_FACE - np.array(facts["mean_face_5pt_256"])).max()
    yield Check("geometry mean face", float(mean), GEOMETRY)
    for number, case in enumerate(facts["alignments"]):
        target = MEAN_FACE * case["template_size"] / TEMPLATE
        got = similarity(np.array(case["points"]), target)
        error = np.abs(got - np.array(case["matrix"])).max()
        yield Check(f"geometry alignment {number}", float(error), GEOMETRY)
    for case in facts["crops"]:
        union = released.union_box(case["boxes"])
        crop = released.square_crop(union, width=case["width"], height=case["height"])
        wrong = np.abs(union - case["union"]).max() + np.abs(np.subtract(crop, case["crop"])).max()
        yield Check(f"geometry crop: {case['note']}", float(wrong), GEOMETRY)
    for number, case in enumerate(facts["largest_face_choice"]):
        wrong = released.largest_face(case["boxes_xywh"]) != case["chosen"]
        yield Check(f"geometry largest face {number}", float(wrong), 0)


def frame_checks(recorded: Recorded) -> Iterator[Check]:
    """Resizing, grey conversion and white holes, by the sums of the whole pictures."""
    from PIL import Image

    tensors, facts = recorded.tensors("frame_prep"), recorded.facts("frame_prep")
    left, top, right, bottom = facts["crop_box"]
    picture = released.resized(tensors["source_u8"].numpy()[top:bottom, left:right])
    grey = released.grey(picture)
    yield _picture_check("resized_rgb", [picture], recorded)
    yield _picture_check("grey", [grey], recorded)
    yield _picture_check("grey_masked", masked_pictures(grey, tensors), recorded)
    large = Image.fromarray(tensors["source2_u8"].numpy())
    shrunk = released.resized(np.asarray(large.resize((1024, 768), Image.Resampling.NEAREST)))
    expected = tensors["source2_1024x768_to_512_every4"]
    yield Check("frames shrunk", error_of(torch.from_numpy(shrunk[::4, ::4].copy()), expected), 0)


def _picture_check(name: str, candidates: Iterable[np.ndarray], recorded: Recorded) -> Check:
    """Whether one of the pictures has the recorded sum, and else how far the last one is off."""
    wanted = recorded.facts("frame_prep")[f"sha256_{name}"]
    got = np.zeros((0, 0, 3), np.uint8)
    for got in candidates:
        if hashlib.sha256(got.tobytes()).hexdigest() == wanted:
            return Check(f"frames {name}", 0, 0)
    expected = recorded.tensors("frame_prep")[f"{name}_every4"]
    error = error_of(torch.from_numpy(got[::4, ::4].copy()), expected)
    return Check(f"frames {name}", max(error, 1.0), 0)


def layout_checks(recorded: Recorded) -> Iterator[Check]:
    """The full-size released networks have exactly the recorded names and shapes."""
    from facerestore.models.convert import released_network

    for kind, shapes in recorded.facts("released_layout").items():
        network = released_network("tokens" if kind == "id_linear" else kind)
        got = {key: list(value.shape) for key, value in network.state_dict().items()}
        wrong = sum(got.get(k) != s for k, s in shapes.items()) + len(got.keys() - shapes.keys())
        yield Check(f"released layout of {kind}", wrong, 0)


def identity_checks(recorded: Recorded, identity: Identity) -> Iterator[Check]:
    """The identity network, and the alignment before it."""
    facts, tensors = recorded.facts("identity"), recorded.tensors("identity")
    weights = identity.arcface.state_dict()
    for key, total in facts["checksums_sum"].items():
        error = abs(float(weights[key].double().sum()) - total)
        yield Check(f"identity sum of {key}", error, 1e-3)
    dtype = identity.arcface.conv1.weight.dtype
    faces = tensors["face_u8"].permute(0, 3, 1, 2).to(dtype) / 127.5 - 1
    features = identity.arcface.feature_map(faces)
    for name, got in (
        ("feature_map", features),
        ("embedding", identity.arcface.embed(features)),
        ("identity_tokens", identity.projection(features)),
    ):
        yield Check(f"identity {name}", error_of(got, tensors[name]), FORWARD)
    for name, chain in facts["chain"].items():
        target = MEAN_FACE * chain["size"] / TEMPLATE
        points = np.array(chain["points"])
        error = np.abs(similarity(points, target) - np.array(chain["matrix"])).max()
        yield Check(f"identity {name} matrix", float(error), GEOMETRY)
        crop = tensors[f"{name}_crop112"].to(dtype)
        expected = tensors[f"{name}_tokens"]
        yield Check(
            f"identity {name} tokens", error_of(identity.tokens(crop[None])[0], expected), FORWARD
        )
        frame = tensors.get(f"{name}_frame_u8")
        if frame is not None:
            own = torch.from_numpy(face_crop(frame.numpy(), points)).permute(2, 0, 1) / 127.5 - 1
            yield Check(f"identity {name} crop", error_of(own, crop), ALIGNED)
            got = identity.tokens(own[None].to(dtype))[0]
            yield Check(
                f"identity {name} tokens of own crop", error_of(got, expected), ALIGNED_TOKENS
            )


def vae_checks(recorded: Recorded, svfr: SVFR) -> Iterator[Check]:
    """Latents of pictures and pictures of latents; the number decoded together matters."""
    tensors, scale = recorded.tensors("vae_forward"), svfr.config.latent_scale
    latents = svfr.codec.encode(enlarged(tensors["frames_half_u8"], svfr.exactness))
    yield Check("vae image_latents", error_of(latents, tensors["image_latents"]), FORWARD)
    yield Check("vae init_latents", error_of(latents * scale, tensors["init_latents"]), FORWARD)
    given = tensors["latents"].to(svfr.exactness) / scale
    for name, part, together in (
        ("decoded_at_once", given, len(given)),
        ("decoded_3_then_2", given, 3),
        ("decoded_first_alone", given[:1], 1),
    ):
        got = svfr.codec.decode(part, together=together)[..., 1::2, 1::2]
        yield Check(f"vae {name}", error_of(got, tensors[name]), FORWARD)


def unet_checks(recorded: Recorded, svfr: SVFR) -> Iterator[Check]:
    """Forwards with and without identity, at two timesteps, for each task."""
    tensors = recorded.tensors("unet_forward")
    sample, ids = tensors["sample"].to(svfr.exactness), tensors["added_time_ids"]
    tokens, times = tensors["identity_tokens"].to(svfr.exactness), tensors["timesteps"]

    def run(item: int, gamma: Tensor, *, time: int, blank: bool) -> Tensor:
        given = None if blank else tokens[item : item + 1]
        noise = times[time].to(svfr.exactness)
        return svfr.network(sample[item : item + 1], noise, given, int(blank), gamma)[0]

    for name, time, blank in (
        ("output_t0", 0, False),
        ("output_t1", 1, False),
        ("output_no_identity_t0", 0, True),
    ):
        got = torch.stack([run(i, ids[i : i + 1], time=time, blank=blank) for i in range(len(ids))])
        yield Check(f"unet {name}", error_of(got, tensors[name]), FORWARD)
    for task, gamma in enumerate(torch.eye(ids.shape[1])):
        got = run(0, gamma[None], time=0, blank=False)[None]
        name = f"output_task{task}_t0"
        yield Check(f"unet {name}", error_of(got, tensors[name]), FORWARD)


def sampling_checks(
    name: str, case: dict[str, Any], tensors: dict[str, Tensor], svfr: SVFR
) -> Iterator[Check]:
    """One run of the released sampler: windows, each step, latents and frames."""
    tolerance = RUN_FLOAT64 if svfr.exactness == torch.float64 else RUN
    schedule = schedule_of(case, svfr)
    count = case["frames"]
    own = [[list(w) for w in schedule.windows(count, step)] for step in range(len(schedule))]
    yield Check(f"{name} windows", float(own != case["windows_per_step"]), 0)
    conditions = conditions_of(case, tensors, svfr)
    noise = tensors["noise"].to(svfr.exactness)
    *steps, final = svfr.trajectory(conditions, noise, schedule)
    scale = svfr.config.latent_scale
    frames = torch.tensor(schedule.windows(count, 0)[0])
    branches = svfr.answers(
        steps[0],
        schedule.sigmas[0].to(svfr.exactness),
        conditions,
        [(frames.tolist(), b) for b in (True, False)],
    )
    guided = branches[0] + schedule.guidance[0] * (branches[1] - branches[0])
    expected = tensors["guided_prediction_step0_window0"]
    yield Check(f"{name} guided prediction", error_of(guided, expected), tolerance)
    largest = 0.0
    for number, (got, expected) in enumerate(
        zip(steps, tensors["latents_before_step"], strict=True)
    ):
        before, largest = largest, float(expected.abs().max())
        allowed = tolerance + SPACING * max(before, largest)  # the recorded step's own rounding
        yield Check(f"{name} before step {number}", error_of(got, expected), allowed)
    yield Check(f"{name} latents", error_of(final * scale, tensors["latents"]), tolerance)
    pixels = svfr.codec.decode(final, together=case["decode_chunk_size"])
    kept = pixels[case["kept_frames"]][..., 1::2, 1::2]
    yield Check(f"{name} frames", error_of(kept, tensors["frames_sampled"]), tolerance)
