"""Published results on this collection, which reports show beside ours."""

from __future__ import annotations

from typing import Final

PUBLISHED: Final = (
    "Published on this collection, each with other tiles, labels and splits: accuracy from 0.88 "
    "(tecncr/osteosarcoma-detect, GitHub; random split of tiles) to 0.99 (Bansal et al. 2022, as "
    "quoted by Vezakis et al. 2023, doi:10.3390/cancers15082290; hold-out split of tiles). With "
    "each of four groups of tiles left out in turn: 0.670 accuracy, 0.562 macro F1, 0.626 balanced "
    "accuracy and 0.110 recall of viable tumour (Enksodsoon/Osteopatch, GitHub, experiment G4: "
    "frozen MobileNetV3-Small, 1,028 tiles, mixed ones left out); Osteopatch has not verified that "
    "its groups are independent patients."
)
"""`docs/README.md` has the sources."""
