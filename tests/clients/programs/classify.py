"""Classify a tile and fetch its overlay with the client that openapi-python-client made."""

import json
import sys
from pathlib import Path

from client import Client
from client.api.tiles import classify, explain
from client.models import ClassifyAnswer, ExplainFormat, Problem, TileForm
from client.types import File

url, tile_path, picture_path = sys.argv[1:]
client = Client(base_url=url)


def form() -> TileForm:
    return TileForm(file=File(payload=Path(tile_path).open("rb"), file_name="tile.png"))


answer = classify.sync(client=client, body=form())
picture = explain.sync(client=client, body=form(), format_=ExplainFormat.OVERLAY, size_px=256)
problem = explain.sync(client=client, body=form(), label="osteoma")
assert isinstance(answer, ClassifyAnswer)
assert isinstance(picture, File)
assert isinstance(problem, Problem)
Path(picture_path).write_bytes(picture.payload.read())
sys.stdout.write(
    json.dumps(
        {
            "review_required": answer.review.required,
            "prediction": answer.prediction,
            "probabilities": answer.probabilities.to_dict(),
            "has_explanation": answer.explanation is not None,
            "problem": problem.type_,
        }
    )
)
