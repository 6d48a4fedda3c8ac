"""The loss: cross-entropy, taken apart into 'tumour or not' and 'viable or not'.

A softmax over three labels already is a hierarchy: p(label) = p(tumour) p(label | tumour), with
p(tumour) the sum of its labels. A head of two binary outputs could express nothing else: three
logits, too, have two degrees of freedom. What a hierarchical head changes is how much each question
counts while fitting, and that is the weight here (compare Chen et al. 2026, arXiv:2601.09416).
"""

from __future__ import annotations

from typing import Any

from training.data.labels import LABELS, TUMOR_CLASSES


def cross_entropy(targets: Any, logits: Any, label_smoothing: float, tumor_weight: float) -> Any:
    """Mean loss of a batch, a scalar tensor.

    Args:
        targets: float32 `[B, C]`, rows sum to 1.
        logits: float32 `[B, C]`.
        label_smoothing: share of each target that is spread over all labels.
        tumor_weight: of 'tumour or not'; 1 gives the ordinary cross-entropy.
    """
    from keras import ops

    n_labels = len(LABELS)
    targets = targets * (1.0 - label_smoothing) + label_smoothing / n_labels
    log_p = ops.log_softmax(logits, axis=-1)
    loss = -ops.sum(targets * log_p, axis=-1)
    if tumor_weight != 1.0:
        tumor = list(TUMOR_CLASSES)
        rest = [i for i in range(n_labels) if i not in TUMOR_CLASSES]
        for part in (tumor, rest):
            share = ops.sum(ops.take(targets, part, axis=-1), axis=-1)
            log_share = ops.logsumexp(ops.take(log_p, part, axis=-1), axis=-1)
            loss = loss - (tumor_weight - 1.0) * share * log_share
    return ops.mean(loss)
