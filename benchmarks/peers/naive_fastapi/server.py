"""FastAPI as in most tutorials: full decoding with Pillow, and `model.predict`."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import keras
import numpy as np
import uvicorn
from fastapi import FastAPI, UploadFile
from PIL import Image

BUNDLE = Path(os.environ["BENCH_BUNDLE"])
MANIFEST = json.loads((BUNDLE / "manifest.json").read_text())
LABELS = [label["id"] for label in MANIFEST["labels"]]
SIDE_PX = MANIFEST["input"]["side_px"]


def load_model() -> keras.Model:
    """Load the SavedModel as a layer, the only way in Keras 3, in a Model that has `predict`."""
    tiles = keras.Input((SIDE_PX, SIDE_PX, 3), dtype="uint8", name="tiles")
    layer = keras.layers.TFSMLayer(str(BUNDLE / "saved_model"), call_endpoint="serving_default")
    return keras.Model(tiles, layer(tiles))


app = FastAPI()
model = load_model()
model.predict(np.zeros((1, SIDE_PX, SIDE_PX, 3), np.uint8), verbose=0)


@app.get("/health")
async def health() -> dict[str, str]:
    """Answer once the model is loaded, before which the port is closed."""
    return {"status": "ok"}


@app.post("/predict")
async def predict(file: UploadFile) -> dict[str, dict[str, float]]:
    """Classify one tile."""
    image = Image.open(io.BytesIO(await file.read())).convert("RGB")
    tile = np.asarray(image.resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC))
    logits = model.predict(tile[np.newaxis], verbose=0)["logits"][0] / MANIFEST["temperature"]
    exponents = np.exp(logits - logits.max())
    probabilities = exponents / exponents.sum()
    return {"probabilities": dict(zip(LABELS, probabilities.tolist(), strict=True))}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["BENCH_PORT"]), log_level="warning")
