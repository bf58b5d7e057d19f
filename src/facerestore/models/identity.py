"""Who it is: ArcFace features of a face and the tokens that the network attends to.

The network is the iResNet-100 of ArcFace (Deng et al. 2019) with the key names of its published
weights; SVFR takes its last feature map before `bn2`, projects each of the 49 places to a token
and normalises it (released SVFR code).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from torch import nn

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from facerestore.frames import Bytes, Floats, Ints

LAYERS = (3, 13, 30, 3)
WIDTHS = (64, 128, 256, 512)
FACE = 112  # px, what ArcFace looks at
# Mean positions of eyes, nose tip and mouth corners in a 256 px alignment (released SVFR code)
MEAN_FACE = np.array(
    [
        [92.58920288085938, 103.3926010131836],
        [163.0635986328125, 103.00279998779297],
        [128.05039978027344, 143.47320556640625],
        [99.09860229492188, 184.7310028076172],
        [157.4597930908203, 184.408203125],
    ]
)
TEMPLATE = 256
ROWS, COLUMNS = slice(0, 224), slice(16, 240)  # of the alignment: the face without its margin


class Block(nn.Module):
    """A pre-activated residual block; the first of a layer halves the size."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inside)
        self.conv1 = nn.Conv2d(inside, outside, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.prelu = nn.PReLU(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(outside)
        self.downsample = None
        if stride != 1:
            self.downsample = nn.Sequential(
                nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.bn3(self.conv2(y)) + shortcut


class ArcFace(nn.Module):
    """iResNet-100: faces [B, 3, 112, 112] in [-1, 1] RGB -> embedding [B, 512], not normalised."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.prelu = nn.PReLU(WIDTHS[0])
        inside = WIDTHS[0]
        for number, (count, width) in enumerate(zip(LAYERS, WIDTHS, strict=True), 1):
            blocks = [Block(inside, width, 2)] + [Block(width, width, 1) for _ in range(count - 1)]
            setattr(self, f"layer{number}", nn.Sequential(*blocks))
            inside = width
        self.bn2 = nn.BatchNorm2d(inside)
        self.fc = nn.Linear(inside * 7 * 7, 512)
        self.features = nn.BatchNorm1d(512)

    def feature_map(self, faces: Tensor) -> Tensor:
        """[B, 512, 7, 7], before `bn2`."""
        x = self.prelu(self.bn1(self.conv1(faces)))
        for number in range(1, len(LAYERS) + 1):
            x = getattr(self, f"layer{number}")(x)
        return x

    def forward(self, faces: Tensor) -> Tensor:
        return self.embed(self.feature_map(faces))

    def embed(self, feature_map: Tensor) -> Tensor:
        """[B, 512, 7, 7] -> [B, 512]."""
        return self.features(self.fc(self.bn2(feature_map).flatten(1)))


class TokenProjection(nn.Module):
    """Feature maps [B, 512, 7, 7] -> identity tokens [B, 49, width]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project1024 = nn.Conv2d(WIDTHS[-1], width, 1, bias=False)
        self.final_norm = nn.LayerNorm(width)

    def forward(self, feature_map: Tensor) -> Tensor:
        return self.final_norm(self.project1024(feature_map).flatten(2).transpose(1, 2))


class Identity:
    """Both networks together, as a model folder holds them; always in the dtype given."""

    def __init__(self, arcface: ArcFace, projection: TokenProjection) -> None:
        self.arcface, self.projection = arcface.eval(), projection.eval()

    def to(self, device: torch.device, dtype: torch.dtype = torch.float32) -> Identity:
        """Both networks on another device, in place."""
        self.arcface.to(device, dtype)
        self.projection.to(device, dtype)
        return self

    @torch.inference_mode()
    def tokens(self, faces: Tensor) -> Tensor:
        """Aligned faces [B, 3, 112, 112] in [-1, 1] -> tokens [B, 49, width]."""
        return self.projection(self.arcface.feature_map(faces))

    @torch.inference_mode()
    def vectors(self, faces: Tensor) -> Tensor:
        """Aligned faces [B, 3, 112, 112] in [-1, 1] -> unit embeddings [B, 512]."""
        return nn.functional.normalize(self.arcface(faces), dim=-1)

    def look(self, pictures: list[Bytes], landmarks: list[Floats]) -> Tensor:
        """Aligned faces of pictures uint8 RGB [H, W, 3] with five points each, on the device.

        landmarks: float [5, 2] each, as in `facerestore.frames` (first sample at 0.5)
        """
        pairs = zip(pictures, landmarks, strict=True)
        crops = np.stack([face_crop(picture, at - 0.5) for picture, at in pairs])
        weight = self.arcface.conv1.weight
        faces = torch.from_numpy(crops).to(weight.device, weight.dtype)
        return faces.permute(0, 3, 1, 2) / 127.5 - 1


def similarity(points: Floats, target: Floats) -> Floats:
    """float64 [2, 3]: the least-squares similarity that takes points [n, 2] to target [n, 2].

    Umeyama 1991, equations 39 to 43. Raises ValueError for points that all coincide.
    """
    middle, goal = points.mean(axis=0), target.mean(axis=0)
    p, t = points - middle, target - goal
    variance = (p**2).sum() / len(p)
    if not variance > 0:
        raise ValueError("expected points that do not all coincide")
    u, spread, v = np.linalg.svd(t.T @ p / len(p))
    flip = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(v))])
    turn = (u * flip) @ v
    scale = float((spread * flip).sum() / variance)
    return np.column_stack([scale * turn, goal - scale * turn @ middle])


def face_crop(picture: Bytes, landmarks: Floats) -> NDArray[np.float32]:
    """float32 [112, 112, 3], 0..255: the face of a picture uint8 RGB as ArcFace expects it.

    landmarks: float [5, 2], eyes, nose tip, mouth corners; here the first sample is at 0, as the
               network was trained
    The alignment's coordinates are multiples of 1/32 px, as OpenCV 4 rounded them for the released
    code; version 5 does not round.
    """
    matrix = similarity(np.asarray(landmarks, np.float64), MEAN_FACE)
    back = cv2.invertAffineTransform(matrix)
    at = np.arange(TEMPLATE)
    columns, rows = (
        (_fixed(line[1] * at + line[2])[:, None] + _fixed(line[0] * at) + 16) >> 5 for line in back
    )
    aligned = cv2.remap(
        picture,
        (columns / 32).astype(np.float32),
        (rows / 32).astype(np.float32),
        cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_CONSTANT,
    )
    face = aligned[ROWS, COLUMNS].astype(np.float32)
    return face.reshape(FACE, 2, FACE, 2, 3).mean(axis=(1, 3))


def _fixed(values: Floats) -> Ints:
    return np.rint(values * 1024).astype(np.int64)
