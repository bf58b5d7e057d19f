"""A photo as the reference of a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from facerestore.errors import BadInputError
from facerestore.faces.crop import crop_path
from facerestore.frames import FaceTrack, Reference
from facerestore.video.layout import as_frame
from facerestore.video.planes import crop_rgb
from facerestore.video.simple import read_picture

if TYPE_CHECKING:
    from pathlib import Path

    from facerestore.faces.detect import Detector


SIDE = 512  # px of a reference; models bring it to the side of their crops


def reference_from(path: Path, detector: Detector) -> Reference:
    """The largest face of a photo as a reference; raises BadInputError where there is none."""
    photo = read_picture(path)
    faces = detector.detect(np.ascontiguousarray(photo[..., ::-1]))
    if not faces:
        raise BadInputError(f"{path}: no face found in the reference picture; choose another")
    face = max(faces, key=lambda f: (f.box[2] - f.box[0]) * (f.box[3] - f.box[1]))
    track = FaceTrack(
        0, 0, 0, face.box[None], face.landmarks[None], np.array([face.score], np.float64)
    )
    square = crop_path(track, rate=1.0)
    matrix, upright = square.matrix(0, SIDE), np.eye(2, 3)
    crop = crop_rgb(as_frame(photo), matrix, to_coded=upright, size=SIDE)
    return Reference(crop, square.in_crop(face.landmarks, 0, SIDE))
