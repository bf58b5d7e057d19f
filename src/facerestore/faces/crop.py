"""The crop path: an upright square that follows one person without shaking and without lag.

Every frame's landmarks say where the square should be (`face_squares`); they tremble by a pixel or
two. `crop_path` smooths them with windows that are symmetric in time, so that nothing lags, and as
long as the motion allows: two seconds on a still head, a few frames on a moving one. The length is
chosen frame by frame as Lepski's rule does: the longest window whose answer no shorter window
contradicts by more than the measured noise can explain.
"""

from __future__ import annotations

import numpy as np

from facerestore.frames import CropPath, FaceTrack, Floats, Ints

# The training crops, FFHQ's layout at 512 px: eyes at (193, 240) and (319, 240), mouth corners at
# (201, 371) and (313, 371).
TEMPLATE = 512.0
EYES_APART = 126.0
EYES_TO_MOUTH = 131.0
CENTRE_BELOW_EYES = 16.0

SIDE_OF_BOX = 1.43  # crop side over box height, mean of 87 detections in 11 clips (1.29 to 1.51)
SIDE_BOUNDS = (0.75, 1.35)  # how far landmarks may stray from that; outside, the box is believed
CENTRE_ABOVE_BOX = 0.06  # crop centre over box centre, in box heights, same 87 detections
CENTRE_BOUND = 0.3  # farthest from there, in box heights; a profile is at 0.1

WINDOWS = (0.06, 0.125, 0.25, 0.5, 1.0, 2.0)  # standard deviations of the windows, seconds
CONTRADICTION = 3.0  # in standard deviations of the shorter window's noise
NOISE_BOUNDS = (0.001, 0.01)  # of the side; detectors measure 0.002 to 0.005
NOISE_UNKNOWN = 0.004  # of the side, for tracks with too few detections to tell
FEW = 5  # detections that tell nothing about noise
EASE = 0.12  # seconds over which one window gives way to another


def crop_path(track: FaceTrack, *, rate: float) -> CropPath:
    """The smoothed square around a track's face, one entry a frame, at `rate` frames a second.

    The face lies in the square as in the training crops, but head roll is kept. The square may
    reach beyond the picture.
    """
    if not rate > 0:
        raise ValueError(f"expected a positive frame rate, got {rate}")
    centre, side = face_squares(track.boxes, track.landmarks)
    scale = float(np.median(side))
    wanted = np.column_stack([centre / scale, np.log(side)])  # [n, 3], in sides
    smooth = _smooth(wanted, track.scores > 0, rate)
    return CropPath(first=track.first, centre=smooth[:, :2] * scale, side=np.exp(smooth[:, 2]))


def face_squares(boxes: Floats, landmarks: Floats) -> tuple[Floats, Floats]:
    """Centres [n, 2] and sides [n] that put each face as in the training crops, unsmoothed.

    In a profile the eyes come together, in a bowed head eyes and mouth do, so the larger of the
    two distances counts (the idea of FFHQ's recipe); the box bounds both size and place.
    """
    eyes, mouth = landmarks[:, :2].mean(axis=1), landmarks[:, 3:].mean(axis=1)
    apart = np.linalg.norm(landmarks[:, 1] - landmarks[:, 0], axis=1) / EYES_APART
    long = np.linalg.norm(mouth - eyes, axis=1) / EYES_TO_MOUTH
    height = np.maximum(boxes[:, 3] - boxes[:, 1], 1.0)
    likely = SIDE_OF_BOX * height
    side = np.clip(
        TEMPLATE * np.maximum(apart, long), likely * SIDE_BOUNDS[0], likely * SIDE_BOUNDS[1]
    )
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2 - np.outer(height, [0.0, CENTRE_ABOVE_BOX])
    centre = eyes + (mouth - eyes) * (CENTRE_BELOW_EYES / EYES_TO_MOUTH)
    reach = CENTRE_BOUND * height[:, None]
    return middle + np.clip(centre - middle, -reach, reach), side


def _smooth(wanted: Floats, detected: np.ndarray, rate: float) -> Floats:
    """Each column of `wanted` [n, 3] (x and y in sides, log side) smoothed as far as it allows."""
    answers = np.stack([_local_lines(wanted, s * rate) for s in WINDOWS])  # [windows, n, 3]
    per_second = rate * np.count_nonzero(detected) / len(detected) or rate
    place = _longest(answers[..., :2], _noise(wanted[:, :2], detected), per_second)
    size = _longest(answers[..., 2:], _noise(wanted[:, 2:], detected), per_second)
    return np.column_stack(
        [_blend(answers[..., :2], place, rate), _blend(answers[..., 2:], size, rate)]
    )


def _local_lines(values: Floats, deviation: float) -> Floats:
    """The value at each entry of the straight line fitted around it with Gaussian weights.

    A line, not a mean: where the window is cut off at the track's ends a mean would lag.
    """
    from scipy.ndimage import correlate1d

    reach = int(np.ceil(3 * deviation))
    at = np.arange(-reach, reach + 1, dtype=np.float64)
    weight = np.exp(-0.5 * (at / deviation) ** 2)

    def total(data: Floats, kernel: Floats) -> Floats:
        return correlate1d(data, kernel, axis=0, mode="constant")

    ones = np.ones((len(values), 1))
    w0, w1, w2 = (total(ones, weight * at**power) for power in range(3))
    v0, v1 = (total(values, weight * at**power) for power in range(2))
    spread = w0 * w2 - w1**2
    line = (w2 * v0 - w1 * v1) / np.where(spread > 1e-9, spread, 1.0)
    return np.where(spread > 1e-9, line, v0 / w0)  # a single entry has no line


def _noise(values: Floats, detected: np.ndarray) -> float:
    """Standard deviation of the detector's noise: how far each detection is off its neighbours.

    The median ignores the moments of real motion. In units of `values`, per coordinate.
    """
    at = np.flatnonzero(detected)
    if len(at) < FEW:
        return NOISE_UNKNOWN
    before, here, after = at[:-2], at[1:-1], at[2:]
    share = ((here - before) / (after - before))[:, None]
    off = values[here] - (1 - share) * values[before] - share * values[after]
    grown = np.sqrt(1 + share**2 + (1 - share) ** 2)  # the neighbours' own noise
    return float(np.clip(1.4826 * np.median(np.abs(off / grown)), *NOISE_BOUNDS))


def _longest(answers: Floats, noise: float, per_second: float) -> Ints:
    """For each entry the index of the longest window that no shorter one contradicts (Lepski)."""
    trust = [
        CONTRADICTION * noise * min(1.0, (2 * np.sqrt(np.pi) * s * per_second) ** -0.5)
        for s in WINDOWS
    ]
    chosen = np.zeros(answers.shape[1], np.int64)
    agreed = np.ones(answers.shape[1], bool)
    for k in range(1, len(WINDOWS)):
        for j in range(k):
            off = np.abs(answers[k] - answers[j]).max(axis=1)
            agreed &= off <= trust[j]
        chosen[agreed] = k
    return chosen


def _blend(answers: Floats, chosen: Ints, rate: float) -> Floats:
    """The chosen windows' answers, one easing into the next; shorter ones win near a change."""
    from scipy.ndimage import gaussian_filter1d, minimum_filter1d

    near = minimum_filter1d(chosen, 2 * int(np.ceil(EASE * rate)) + 1, mode="nearest")
    eased = gaussian_filter1d(near.astype(np.float64), EASE * rate, mode="nearest")
    low = np.clip(np.floor(eased).astype(np.int64), 0, len(WINDOWS) - 2)
    share, at = (eased - low)[:, None], np.arange(len(chosen))
    return (1 - share) * answers[low, at] + share * answers[low + 1, at]
