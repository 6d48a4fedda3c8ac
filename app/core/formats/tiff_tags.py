"""Numbers and names of the TIFF tags that decide a pixel (TIFF 6.0 and registered extensions)."""

from __future__ import annotations

from typing import Final

NEW_SUBFILE_TYPE, SUBFILE_TYPE, SUB_IFDS = 254, 255, 330
WIDTH, HEIGHT, ORIENTATION = 256, 257, 274
BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 258, 259, 262, 266
STRIP_OFFSETS, ROWS_PER_STRIP, STRIP_COUNTS = 273, 278, 279
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS = 322, 323, 324, 325
SAMPLES_PER_PIXEL, PLANAR, PREDICTOR = 277, 284, 317
COLOUR_MAP, INK_SET, DOT_RANGE, INDEXED = 320, 332, 336, 346
EXTRA_SAMPLES, SAMPLE_FORMAT, JPEG_TABLES = 338, 339, 347
YCBCR_COEFFICIENTS, REFERENCE_BLACK_WHITE = 529, 532
IMAGE_DEPTH, TILE_DEPTH = 32997, 32998

OF_PIECES: Final = frozenset({
    *(STRIP_OFFSETS, ROWS_PER_STRIP, STRIP_COUNTS),
    *(TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS),
})  # fmt: skip
OF_PIXELS: Final = frozenset({
    *(WIDTH, HEIGHT, ORIENTATION, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER),
    *(SAMPLES_PER_PIXEL, PLANAR, PREDICTOR, COLOUR_MAP, INK_SET, DOT_RANGE, INDEXED),
    *(EXTRA_SAMPLES, SAMPLE_FORMAT, JPEG_TABLES, YCBCR_COEFFICIENTS, REFERENCE_BLACK_WHITE),
    *(IMAGE_DEPTH, TILE_DEPTH),
})  # fmt: skip

NO_COMPRESSION, LZW, JPEG, DEFLATE, OLD_DEFLATE = 1, 5, 7, 8, 32946
PACKBITS, LZMA, ZSTD = 32773, 34925, 50000
COMPRESSION_NAMES: Final = {
    **dict.fromkeys((2, 3, 4, 32771), "CCITT fax data"),
    6: "old-style JPEG",
    **dict.fromkeys((9, 10, 34661, 34715), "JBIG"),
    **dict.fromkeys((99, 33007), "a variant of JPEG"),
    **dict.fromkeys((22610, 34934), "JPEG XR"),
    32766: "NeXT data",
    **dict.fromkeys((32767, 32769, 32770, 32772, 34713), "camera raw data"),
    32809: "ThunderScan data",
    **dict.fromkeys((32908, 32909), "PixarLog data"),
    **dict.fromkeys((33003, 33004, 33005, 34712), "JPEG 2000"),
    **dict.fromkeys((34676, 34677), "LogLuv data"),
    34887: "LERC",
    34892: "lossy camera raw data",
    34926: "Zstandard data of a withdrawn number",
    **dict.fromkeys((34927, 50001), "WebP"),
    34933: "PNG",
    **dict.fromkeys((50002, 52546), "JPEG XL"),
    **dict.fromkeys((65000, 65001, 65002), "electron event data"),
}

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6
PHOTOMETRIC_NAMES: Final = {
    WHITE_IS_ZERO: "white-is-zero greyscale",
    BLACK_IS_ZERO: "greyscale",
    RGB: "RGB",
    PALETTE: "palette",
    4: "transparency mask",
    CMYK: "CMYK",
    YCBCR: "YCbCr",
    **dict.fromkeys((8, 9, 10), "CIELab"),
    **dict.fromkeys((32803, 34892), "camera raw"),
    **dict.fromkeys((32844, 32845), "LogLuv"),
    51177: "depth map",
}
SAMPLE_FORMAT_NAMES: Final = {
    2: "signed",
    3: "floating-point",
    5: "complex",
    6: "complex",
}
