"""Evidence maps in closed form, as a layer of the exported graph.

Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391) weighs each channel of a feature map F by the
gradient of a logit with respect to that channel's mean. HiResCAM (Draelos & Carin 2020,
arXiv:2011.08891) multiplies F by its gradient at each place instead. For a layer that is pooled by
its mean both are the same map; for a standard deviation only HiResCAM is more than a constant.

With a head of two layers on the embedding p, h = relu(W1ᵀ p + b1) and logits = W2ᵀ h + b2,

    d logit_c / d p = (1[h > 0] * W2[:, c]) W1ᵀ = g

and with the parts g_m and g_s of g for the means m and the deviations s of a layer with N places

    N * F * d logit_c / d F = F · g_m + F (F - m) / s · g_s

so a map costs some small products and works in LiteRT, which has no gradients. If several layers
are pooled, the gradient is taken through the pooling alone, not through later layers. The maps of
all layers are averaged down to the coarsest grid and summed, so for a linear head their mean over
the places is the logit without its bias (for deviations up to their floor of 0.001). Texture
measures describe the tile as a whole: they have a part in the logits, and none in the map.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from training.networks.backbone import Pooling, deviation


class EvidenceMaps(keras.layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """Maps for all labels at once, from the weights of the head's two layers."""

    def __init__(self, hidden_layer: Any, logits_layer: Any, pooling: Pooling, name: str) -> None:
        super().__init__(name=name)
        self.hidden_layer = hidden_layer
        self.logits_layer = logits_layer
        self.pooling = pooling

    def call(self, maps: list[Any], hidden: Any) -> Any:
        """Compute the maps.

        Args:
            maps: float32 `[B, h_i, w_i, K_i]`, the pooled layers in the order of the embedding.
            hidden: float32 `[B, H]`, the head's hidden layer after its relu.

        Returns:
            float32 `[B, h, w, C]` on the coarsest grid, before any relu: negative values are
            evidence against the label.
        """
        active = ops.cast(hidden > 0, hidden.dtype)
        through_hidden = active[:, None, :] * ops.transpose(self.logits_layer.kernel)[None]
        rows = min(features.shape[1] for features in maps)
        shares = [share for features in maps for share in self._shares(features, rows)]
        # One product of all layers instead of a sum: the int8 file keeps products in float.
        flat = shares[0] if len(shares) == 1 else ops.concatenate(shares, axis=-1)
        size = flat.shape[3]  # what the head takes behind the embedding has no place
        gradient = ops.matmul(through_hidden, ops.transpose(self.hidden_layer.kernel[:size]))
        n_places, columns = flat.shape[1] * flat.shape[2], flat.shape[2]
        flat = ops.reshape(flat, (-1, n_places, size))
        evidence = ops.matmul(flat, ops.transpose(gradient, (0, 2, 1)))
        return ops.reshape(evidence, (-1, rows, columns, evidence.shape[-1]))

    def _shares(self, features: Any, rows: int) -> list[Any]:
        """What multiplies the gradient of each statistic of a layer, on the coarsest grid."""
        if self.pooling == "mean":
            return [_coarsened(features, rows)]
        means = ops.mean(features, axis=(1, 2), keepdims=True)
        deviations = deviation(features, means)[:, None, None]
        of_deviation = _coarsened(features * (features - means) / deviations, rows)
        if self.pooling == "deviation":
            return [of_deviation]
        return [_coarsened(features, rows), of_deviation]


def _coarsened(features: Any, rows: int) -> Any:
    """Average to a grid with this many rows; edges that do not divide average what there is."""
    factor = -(-features.shape[1] // rows)
    return features if factor == 1 else ops.average_pool(features, factor, padding="same")
