"""FastAPI by a careful user: the SavedModel's signature, called in the thread pool."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import tensorflow as tf
import uvicorn
from fastapi import FastAPI, UploadFile
from PIL import Image

BUNDLE = Path(os.environ["BENCH_BUNDLE"])
MANIFEST = json.loads((BUNDLE / "manifest.json").read_text())
LABELS = [label["id"] for label in MANIFEST["labels"]]
SIDE_PX = MANIFEST["input"]["side_px"]

app = FastAPI()
model = tf.saved_model.load(str(BUNDLE / "saved_model"))
signature = model.signatures["serving_default"]
signature(tiles=tf.zeros((1, SIDE_PX, SIDE_PX, 3), tf.uint8))


@app.get("/health")
async def health() -> dict[str, str]:
    """Answer once the model is loaded, before which the port is closed."""
    return {"status": "ok"}


@app.post("/predict")
def predict(file: UploadFile) -> dict[str, dict[str, float]]:
    """Classify one tile; FastAPI runs a plain `def` in its thread pool."""
    image = Image.open(file.file).convert("RGB")
    tile = np.asarray(image.resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC))
    logits = signature(tiles=tf.convert_to_tensor(tile[np.newaxis]))["logits"]
    probabilities = tf.nn.softmax(logits[0] / MANIFEST["temperature"]).numpy()
    return {"probabilities": dict(zip(LABELS, probabilities.tolist(), strict=True))}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["BENCH_PORT"]), log_level="warning")
