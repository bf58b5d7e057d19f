"""FVD, the Frechet video distance (Unterthiner et al. 2018): how alike two sets of clips move.

Features are the 400 logits of an I3D trained on Kinetics-400, of clips of 16 frames.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from facerestore.errors import ModelError
from facerestore.models.files import FILES, checked, how_to_get

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

    from facerestore.evaluation.meters import Numbers
    from facerestore.evaluation.views import View
    from facerestore.frames import Bytes, Floats

    Look = Callable[[Bytes], Floats]  # uint8 RGB [B, F, H, W, 3] -> features [B, d]

FRAMES = 16  # of a clip
LEAST_CLIPS = 2  # one has no variance


def frechet_distance(a: Floats, b: Floats) -> float:
    """Squared Frechet distance of the gaussians of two sets of features, [n, d] and [m, d].

    |mean a - mean b|^2 + Tr(A + B - 2 (A B)^(1/2)) with the unbiased covariances A and B (Dowson
    and Landau 1982). With A = X^T X and B = Y^T Y, the trace of the root is the sum of the singular
    values of X Y^T: exact also where there are fewer clips than features and A, B are singular.
    Raises ValueError for fewer than two features or different widths.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < LEAST_CLIPS:
        raise ValueError(f"expected [n, d] and [m, d] with n, m >= 2, got {a.shape}, {b.shape}")
    x, y = ((part - part.mean(axis=0)) / np.sqrt(len(part) - 1) for part in (a, b))
    root = np.linalg.svd(x @ y.T, compute_uv=False).sum()
    apart = ((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum()
    return float(max(0.0, apart + (x**2).sum() + (y**2).sum() - 2 * root))


def load_video_network(device: torch.device) -> tuple[Look | None, str]:
    """I3D on a device, or None and the sentence why not; raises ModelError for another file."""
    import torch

    file = FILES["i3d"]
    if not file.path.is_file():
        return None, f"FVD is not measured: {how_to_get(file)}"
    checked(file)  # before loading: TorchScript is a program
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # the format has no successor to load
            network: Any = torch.jit.load(str(file.path), map_location=device).eval()
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"{file.path}: does not load ({str(error).splitlines()[0]})") from None

    @torch.inference_mode()
    def look(clips: Bytes) -> Floats:
        x = torch.from_numpy(clips).to(device).permute(0, 4, 1, 2, 3).float()  # [B, 3, F, H, W]
        found = network(x, rescale=True, resize=True, return_features=True)  # 0..255, any size
        return found.double().cpu().numpy()

    return look, ""


class Clips:
    """Features of consecutive clips of 16 views of the same face (or shot), of both films."""

    def __init__(self, look: Look) -> None:
        self.look = look
        self.held: dict[int, list[View]] = {}  # by thread, consecutive
        self.out: list[Floats] = []
        self.ref: list[Floats] = []

    def push(self, view: View) -> None:
        self.held = {t: seen for t, seen in self.held.items() if seen[-1].frame >= view.frame - 1}
        held = self.held.setdefault(view.thread, [])
        held.append(view)
        if len(held) == FRAMES:
            del self.held[view.thread]
            pictures = [[view.out for view in held], [view.ref for view in held]]
            out, ref = self.look(np.array(pictures, np.uint8))
            self.out.append(out)
            self.ref.append(ref)

    def results(self) -> Numbers:
        return {"fvd": pooled_fvd([self.features]), "fvd_clips": len(self.out)}

    @property
    def features(self) -> tuple[Floats, Floats]:
        """[n, d] of OUT and of REF."""
        return np.array(self.out), np.array(self.ref)


def pooled_fvd(films: Sequence[tuple[Floats, Floats]]) -> float | None:
    """FVD of the clips of all films together; None for fewer than two clips."""
    both = [np.concatenate(part) for part in zip(*(f for f in films if len(f[0])), strict=True)]
    return frechet_distance(*both) if both and len(both[0]) >= LEAST_CLIPS else None
