"""What others have published, to stand beside what is measured here."""

from __future__ import annotations

SOURCE = "SVFR, arXiv 2501.01235, Table 2"
PROTOCOL = f"{SOURCE}; VFHQ-test (50 clips), aligned 512 x 512, not measured here"
MEASURES = ("psnr", "ssim", "lpips", "ids", "vidd", "fvd")  # the table's columns, in its order
# task -> method -> the numbers in the order of MEASURES
NUMBERS: dict[str, dict[str, tuple[float, ...]]] = {
    "bfr": {
        "GPEN": (26.237, 0.795, 0.320, 0.786, 0.575, 412.81),
        "CodeFormer": (26.528, 0.762, 0.361, 0.784, 0.700, 379.53),
        "PGDiff": (23.638, 0.765, 0.399, 0.489, 0.649, 445.36),
        "PGTFormer": (28.996, 0.843, 0.248, 0.845, 0.577, 154.857),
        "KEEP": (27.335, 0.813, 0.259, 0.790, 0.787, 399.239),
        "SVFR": (29.563, 0.862, 0.223, 0.902, 0.479, 89.32),
    },
    "color": {
        "GPEN": (22.012, 0.887, 0.294, 0.959, 0.499, 366.25),
        "CodeFormer": (17.927, 0.663, 0.508, 0.624, 0.895, 551.45),
        "PGDiff": (21.550, 0.825, 0.481, 0.794, 0.558, 370.15),
        "SVFR": (23.079, 0.896, 0.272, 0.980, 0.497, 204.26),
    },
    "inpaint": {
        "GPEN": (23.596, 0.886, 0.228, 0.757, 0.671, 286.76),
        "CodeFormer": (28.672, 0.896, 0.156, 0.846, 0.727, 170.63),
        "PGDiff": (20.551, 0.794, 0.360, 0.615, 0.595, 354.62),
        "SVFR": (29.119, 0.904, 0.153, 0.888, 0.504, 88.35),
    },
}
