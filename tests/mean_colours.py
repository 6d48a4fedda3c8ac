"""Writes a network of 7 kB that LiteRT runs in a millisecond, with the logits of `FakeRuntime`.

`python -m tests.mean_colours` writes `mean_colours.tflite` again. Servers in tests load it where
the answers of the released network do not matter: that one takes longer to open than a server.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from tests.records import embedding_at

FILE: Final = Path(__file__).with_suffix(".tflite")


def convert() -> bytes:
    """Convert the network: the mean red, green and blue, whose maps are those of 7 x 7 squares.

    Each tile has the same embedding, near those of `reference_embeddings`.
    """
    import tensorflow as tf

    class MeanColours(tf.Module):  # type: ignore[misc]  # TensorFlow ships no types
        @tf.function(input_signature=[tf.TensorSpec([1, 224, 224, 3], tf.uint8, "tiles")])  # type: ignore[untyped-decorator]  # as above
        def serve(self, tiles: Any) -> dict[str, Any]:
            cam = tf.nn.avg_pool2d(tf.cast(tiles, tf.float32), 32, 32, "VALID") / 32
            embedding = tf.constant(embedding_at(0.1)[None])
            return {"logits": tf.reduce_mean(cam, [1, 2]), "embedding": embedding, "cam": cam}

    network = MeanColours()
    functions = [network.serve.get_concrete_function()]
    content: bytes = tf.lite.TFLiteConverter.from_concrete_functions(functions, network).convert()
    return content


if __name__ == "__main__":
    FILE.write_bytes(convert())
