"""LitServe as in its documentation: a LitAPI with batching and one worker."""

from __future__ import annotations

import json
import os
from pathlib import Path

import litserve as ls
import numpy as np
from PIL import Image

BUNDLE = Path(os.environ["BENCH_BUNDLE"])
MANIFEST = json.loads((BUNDLE / "manifest.json").read_text())
LABELS = [label["id"] for label in MANIFEST["labels"]]
SIDE_PX = MANIFEST["input"]["side_px"]


class OsteoApi(ls.LitAPI):
    """Decode, batch, predict, encode."""

    def setup(self, device: str) -> None:  # noqa: ARG002 - LitServe prescribes the signature
        """Load the model in the worker process, where LitServe calls this."""
        import tensorflow as tf

        self.tf = tf
        self.model = tf.saved_model.load(str(BUNDLE / "saved_model"))
        self.signature = self.model.signatures["serving_default"]
        for n_tiles in (1, 8, 16):
            self.signature(tiles=tf.zeros((n_tiles, SIDE_PX, SIDE_PX, 3), tf.uint8))

    def decode_request(self, request) -> np.ndarray:  # noqa: ANN001 - LitServe would read a type as a schema
        """Decode the upload to a tile, uint8 `[side, side, 3]` RGB."""
        image = Image.open(request["file"].file).convert("RGB")
        return np.asarray(image.resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC))

    def predict(self, tiles: np.ndarray) -> np.ndarray:
        """Classify tiles `[B, side, side, 3]`; return probabilities `[B, C]`."""
        logits = self.signature(tiles=self.tf.convert_to_tensor(tiles))["logits"]
        return self.tf.nn.softmax(logits / MANIFEST["temperature"]).numpy()

    def encode_response(self, probabilities: np.ndarray) -> dict[str, dict[str, float]]:
        """Name the probabilities of one tile."""
        return {"probabilities": dict(zip(LABELS, probabilities.tolist(), strict=True))}


if __name__ == "__main__":
    server = ls.LitServer(
        OsteoApi(max_batch_size=16, batch_timeout=0.005), accelerator="cpu", timeout=60
    )
    server.run(
        host="127.0.0.1",
        port=int(os.environ["BENCH_PORT"]),
        log_level="warning",
        generate_client_file=False,
    )
