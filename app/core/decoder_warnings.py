"""What Pillow's warnings become: ignored, except for the one about decompression bombs."""

from __future__ import annotations

import logging
import warnings
from typing import Final

from PIL import Image

_PILLOW: Final = "PIL"


def filter_decoder_warnings() -> None:
    """Ignore Pillow's warnings and log records in this process; a decompression bomb is an error.

    One file can cause 65,536 different warnings. Each would be a line in the log, quoting what the
    file contains, and Python would keep each text for ever so as not to repeat it. What is wrong
    with a tile is in its answer.
    """
    warnings.filterwarnings("ignore", module=rf"{_PILLOW}\.")
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    logging.getLogger(_PILLOW).setLevel(logging.CRITICAL)
