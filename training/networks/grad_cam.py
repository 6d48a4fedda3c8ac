"""Grad-CAM in closed form, as a layer of the exported graph.

Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391) weighs each channel of the last feature map F by
the gradient of a logit with respect to that channel's mean. With global average pooling and a head
of two layers, h = relu(W1ᵀ p + b1) and logits = W2ᵀ h + b2, that gradient has a closed form:

    d logit_c / d p = (1[h > 0] * W2[:, c]) W1ᵀ        and        cam_c = F · (d logit_c / d p)

so a map costs two small products and works in LiteRT, which has no gradients.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


class GradCam(keras.layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """Maps for all labels at once, from the weights of the head's two layers."""

    def __init__(self, hidden_layer: Any, logits_layer: Any, name: str) -> None:
        super().__init__(name=name)
        self.hidden_layer = hidden_layer
        self.logits_layer = logits_layer

    def call(self, features: Any, hidden: Any) -> Any:
        """Compute the maps.

        Args:
            features: float32 `[B, h, w, K]`, the backbone's last feature map.
            hidden: float32 `[B, H]`, the head's hidden layer after its relu.

        Returns:
            float32 `[B, h, w, C]`, before any relu: negative values are evidence against the label.
        """
        _, height, width, channels = features.shape
        active = ops.cast(hidden > 0, features.dtype)
        through_hidden = active[:, None, :] * ops.transpose(self.logits_layer.kernel)[None]
        gradient = ops.matmul(through_hidden, ops.transpose(self.hidden_layer.kernel))  # [B, C, K]
        flat = ops.reshape(features, (-1, height * width, channels))
        maps = ops.matmul(flat, ops.transpose(gradient, (0, 2, 1)))
        return ops.reshape(maps, (-1, height, width, maps.shape[-1]))
