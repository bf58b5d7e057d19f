"""The losses of SVFR (paper section 4.2; SVFR.md in the project's notes, section 4).

    L = L_noise + 0.01 L_ULR + 0.1 L_prior

L_noise is SVD's loss: the network's answer against the EDM target at a random noise level. L_ULR,
unified latent regularization, pulls the middle features of two degradations of one clip together
and those of different clips apart. L_prior, the facial prior, reads landmarks out of the same
features. For models without a VAE more terms are there, of pixels (`pixel_loss`, `structure_loss`).
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facerestore.models.sampling import scalings

TEMPERATURE = 0.07  # tau; the paper names no value, this is MoCo's (He et al. 2020)
WING_WIDTH, WING_CURVE = 10.0, 2.0  # w and epsilon in px, Feng et al. 2018
WING_SIDE = 256  # px of the crop in which those pixels are counted
HUBER = 0.00054
SSIM_WINDOW = 7
DETAIL_BANDS = (1, 3), (3, 7), (5, 13)  # px; the finest is lost where a film is smaller than a crop
DETAIL_WINDOW = 9  # px, where detail is compared
DETAIL_FLOOR = 0.02  # 2.5 codes: fainter detail counts less
SSIM_C1, SSIM_C2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2  # pixels have a range of 2
PRIOR_LAYERS, PRIOR_WIDTH = 5, 256  # five layers: paper section 4.2; the width is ours


def noise_loss(answer: Tensor, target: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
    """[B]: mean squared error of the network's answer against its EDM target.

    answer, target, x: [B, F, C, h, w], what the network said, the clean latents, the noisy ones
    sigma:             [B, 1, 1, 1, 1]
    That is ||denoised - target||^2 / c_out^2 with denoised = c_skip x + c_out answer: the weighting
    of Karras et al. 2022, equation 8, as in Stable Video Diffusion.
    """
    skip, scale, _, _ = scalings(sigma)
    return (answer - (target - skip * x) / scale).square().mean((1, 2, 3, 4))


def pixel_loss(error: Tensor) -> tuple[Tensor, Tensor]:
    """[B] each: mean absolute spatial gradient, and mean absolute change in time, of an error.

    error: [B, F, 3, H, W], restored minus clean pixels. Blurred edges show in the first, flicker in
    the second (0 for single frames).
    """
    across, down = error.diff(dim=-1).abs(), error.diff(dim=-2).abs()
    edges = across.mean((1, 2, 3, 4)) + down.mean((1, 2, 3, 4))
    if error.shape[1] == 1:
        return edges, torch.zeros_like(edges)
    return edges, error.diff(dim=1).abs().mean((1, 2, 3, 4))


def structure_loss(restored: Tensor, clean: Tensor) -> Tensor:
    """[B]: 1 - SSIM (Wang et al. 2004), mean over frames, channels and places.

    restored, clean: [B, F, 3, H, W] pixels in [-1, 1]. The window is a square of 7 x 7 pixels: sums
    over it are cheaper than Gaussian ones, which `evaluate` uses.
    """

    def mean(picture: Tensor) -> Tensor:
        return F.avg_pool2d(picture, SSIM_WINDOW, stride=1)

    x, y = restored.flatten(0, 1), clean.flatten(0, 1)
    mx, my = mean(x), mean(y)
    spread = mean(x * x) - mx * mx + mean(y * y) - my * my
    shared = mean(x * y) - mx * my
    likeness = (2 * mx * my + SSIM_C1) * (2 * shared + SSIM_C2)
    likeness = likeness / ((mx * mx + my * my + SSIM_C1) * (spread + SSIM_C2))
    return 1 - likeness.unflatten(0, restored.shape[:2]).mean((1, 2, 3, 4))


def detail_loss(restored: Tensor, clean: Tensor) -> Tensor:
    """[B]: how far the strength of detail is from that of the clean pixels, place by place.

    restored, clean: [B, F, 3, H, W] pixels in [-1, 1]. Detail is what is between means of squares
    of some sizes (DETAIL_BANDS), its strength the rms over DETAIL_WINDOW. Where the detail lies
    does not matter, so what cannot be known need not be grey, as squared errors want it.
    """
    x, y = restored.flatten(0, 1), clean.flatten(0, 1)
    away = [_relative(_strength(x, *band), _strength(y, *band)) for band in DETAIL_BANDS]
    return torch.stack(away).mean(0).unflatten(0, restored.shape[:2]).mean(1)


def _strength(picture: Tensor, fine: int, coarse: int) -> Tensor:
    """[N, 3, h, w]: of what is between the means of two odd sizes."""
    rim = (coarse - fine) // 2
    band = F.avg_pool2d(picture, fine, stride=1)[..., rim:-rim, rim:-rim]
    band = band - F.avg_pool2d(picture, coarse, stride=1)
    return (F.avg_pool2d(band.square(), DETAIL_WINDOW, stride=2) + 1e-6).sqrt()


def _relative(found: Tensor, wanted: Tensor) -> Tensor:
    return ((found - wanted).abs() / (wanted + DETAIL_FLOOR)).mean((1, 2, 3))


class LatentTransformer(nn.Module):
    """T_l: two residual blocks and a LayerNorm (paper section 4.2), one vector a clip at the end.

    Features [B, F, C, h, w] -> unit vectors [B, C]: the mean over frames and places, which the
    paper leaves open, so that clips of any length can be compared.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.GroupNorm(_groups(channels), channels),
                nn.SiLU(),
                nn.Conv2d(channels, channels, 3, padding=1),
                nn.GroupNorm(_groups(channels), channels),
                nn.SiLU(),
                nn.Conv2d(channels, channels, 3, padding=1),
            )
            for _ in range(2)
        )
        self.norm = nn.LayerNorm(channels)

    def forward(self, features: Tensor) -> Tensor:
        x = features.flatten(0, 1)  # [B*F, C, h, w]
        for block in self.blocks:
            x = x + block(x)
        x = self.norm(x.movedim(1, -1)).unflatten(0, features.shape[:2])  # [B, F, h, w, C]
        return F.normalize(x.mean((1, 2, 3)), dim=-1)


def _groups(channels: int) -> int:
    return next(n for n in (32, 16, 8, 4, 2, 1) if channels % n == 0)


def latent_loss(first: Tensor, second: Tensor, *, temperature: float = TEMPERATURE) -> Tensor:
    """L_ULR: InfoNCE of unit vectors [B, C] of two degradations of the same B clips, a number.

    The positive of a vector is the other degradation of its clip; the negatives are the other
    degradations of all other clips; both directions are averaged. One clip alone gives 0.
    """
    likeness = first @ second.T / temperature  # [B, B]
    truth = torch.arange(len(first), device=first.device)
    return (F.cross_entropy(likeness, truth) + F.cross_entropy(likeness.T, truth)) / 2


def consistency_loss(denoised: Tensor, aim: Tensor) -> Tensor:
    """Pseudo-Huber distance of denoised latents, a number (Song & Dhariwal 2024, equation 7).

    Its constant there is 0.00054 times the root of the number of dimensions of a sample.
    """
    constant = HUBER * denoised[0].numel() ** 0.5
    squares = (denoised - aim).square().flatten(1).sum(dim=1)
    return ((squares + constant**2).sqrt() - constant).mean() / denoised[0].numel() ** 0.5


class LandmarkHead(nn.Module):
    """P_lm: average pooling and a five-layer MLP; features [B, F, C, h, w] -> points [B, F, K, 2].

    Points are fractions of the crop's side, counted from its middle so that training starts there.
    """

    def __init__(self, channels: int, points: int) -> None:
        super().__init__()
        widths = [channels, *[PRIOR_WIDTH] * (PRIOR_LAYERS - 1), 2 * points]
        layers: list[nn.Module] = []
        for inside, outside in pairwise(widths):
            layers += [nn.Linear(inside, outside), nn.SiLU()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, features: Tensor) -> Tensor:
        return 0.5 + self.layers(features.mean((-1, -2))).unflatten(-1, (-1, 2))


def wing(distance: Tensor, *, width: float = WING_WIDTH, curve: float = WING_CURVE) -> Tensor:
    """w ln(1 + |x| / eps) if |x| < w, else |x| - C with C = w - w ln(1 + w / eps).

    Feng et al. 2018, equation 5; distance, width and curve in px.
    """
    away = distance.abs()
    constant = width - width * math.log1p(width / curve)
    return torch.where(away < width, width * torch.log1p(away / curve), away - constant)


def prior_loss(points: Tensor, truth: Tensor) -> Tensor:
    """L_prior: mean wing loss of points against landmarks, both [B, F, K, 2], fractions.

    Landmarks that are NaN are unknown and do not count; none known gives 0.
    """
    known = torch.isfinite(truth)
    away = (points - truth.nan_to_num()) * WING_SIDE
    return (wing(away) * known).sum() / known.sum().clamp(min=1)
