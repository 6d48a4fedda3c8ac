"""Train on several GPUs or machines with `tf.distribute` (`[distribute]` in the configuration).

All processes run the same program with the same seeds and draw the same batches. Each replica takes
its slice of a batch, and the gradients are summed before the step, so the weights equal those of
one process up to rounding. (Each replica draws its own dropout, so with dropout they differ.) The
frozen part is distributed too: each process computes the features of its share of the tiles, and
all processes gather them. `multi_worker` reads the addresses of the workers from TensorFlow's
TF_CONFIG.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from training.errors import ClusterError

StrategyName = Literal["none", "mirrored", "multi_worker"]
_CLUSTER: Final = "TF_CONFIG"


@contextlib.contextmanager
def distributed(strategy_name: StrategyName) -> Iterator[None]:
    """A context in which graphs are built on all devices and all processes train together.

    Enter it before anything else uses TensorFlow.

    Raises:
        ClusterError: TF_CONFIG is missing or does not describe a cluster, or a worker was lost.
    """
    if strategy_name == "none":
        yield
        return
    if strategy_name == "multi_worker":
        require_cluster(os.environ.get(_CLUSTER))
    import tensorflow

    multi_worker = strategy_name == "multi_worker"
    try:
        with (
            tensorflow.variable_creator_scope(_with_aggregation),
            _make_strategy(multi_worker).scope(),
        ):
            yield
    except tensorflow.errors.OpError as error:
        if not multi_worker:
            raise
        raise ClusterError(
            f"The workers cannot continue together ({type(error).__name__}). If one was lost, "
            "start all of them again."
        ) from error


def _make_strategy(multi_worker: bool) -> Any:
    import tensorflow

    if multi_worker:
        return tensorflow.distribute.MultiWorkerMirroredStrategy()
    # Without GPUs, MirroredStrategy takes one CPU by default, even if there are several.
    devices = (tensorflow.config.list_logical_devices(kind) for kind in ("GPU", "CPU"))
    chosen = next(found for found in devices if found)
    return tensorflow.distribute.MirroredStrategy([device.name for device in chosen])


def require_cluster(described: str | None) -> None:
    """Check that TF_CONFIG describes a cluster; otherwise a worker would wait for others forever.

    Args:
        described: the value of TF_CONFIG; None if it is not set.

    Raises:
        ClusterError: it does not.
    """
    example = (
        '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", '
        '"index": 0}}'
    )
    if described is None:
        raise ClusterError(
            f"distribute.strategy is 'multi_worker' and {_CLUSTER} is not set. Example: {example}"
        )
    try:
        document = json.loads(described)
        workers, task = document["cluster"]["worker"], document["task"]
        known = task["type"] == "worker" and 0 <= task["index"] < len(workers)
    except (ValueError, LookupError, TypeError) as error:
        raise ClusterError(f"{_CLUSTER} does not describe a cluster. Example: {example}") from error
    if not known:
        raise ClusterError(f"{_CLUSTER}: the task is not one of its workers ({len(workers)}).")


def is_chief() -> bool:
    """Whether this process writes the results; one process of a cluster does."""
    return rank_and_size()[0] == 0


def gather_rows(rows: NDArray[Any]) -> NDArray[Any]:
    """The rows of all processes, `[n, ...]`, in the order of the processes; each may have any n."""
    if rank_and_size()[1] == 1:
        return rows
    import tensorflow

    strategy = tensorflow.distribute.get_strategy()
    n_local = _n_local(strategy)
    slices = [rows, *[rows[:0]] * (n_local - 1)]
    gathered: NDArray[Any] = strategy.gather(_per_replica(strategy, slices), axis=0).numpy()
    return gathered


def bytes_of_first(content: bytes | None) -> bytes | None:
    """The content of the first process, in all processes; every process must call this."""
    if rank_and_size()[1] == 1:
        return content
    # Collectives transfer numbers: the length (-1 for None), then the bytes, four per number.
    mine = np.empty(0, np.int32)
    if is_chief():
        size = -1 if content is None else len(content)
        padded = (content or b"") + bytes(-max(size, 0) % 4)
        mine = np.concatenate([np.array([size], np.int32), np.frombuffer(padded, np.int32)])
    size, *_ = gathered = gather_rows(mine)
    return None if size < 0 else gathered[1:].tobytes()[:size]


def agreed(found: bool) -> bool:
    """The value of the first process, in all processes; every process must call this."""
    return bytes_of_first(b"" if found else None) is not None


def on_all_replicas(replica_step: Callable[..., Any]) -> Callable[..., Any] | None:
    """A training step that all replicas take together; None if no strategy is active.

    Args:
        replica_step: maps (features, targets, weight, n_replicas) of one replica's slice to
            (loss, logits). `weight`, the slice's share of the batch, multiplies the loss.

    Returns:
        A function from (features, targets) to (loss, logits), all of the whole batch.
    """
    import tensorflow

    strategy = tensorflow.distribute.get_strategy()
    if not tensorflow.distribute.has_strategy():
        return None
    n_replicas = strategy.num_replicas_in_sync

    @tensorflow.function(autograph=False, reduce_retracing=True)  # type: ignore[untyped-decorator]  # TensorFlow ships no types
    def together(features: Any, targets: Any, weight: Any) -> Any:
        loss, logits = strategy.run(replica_step, args=(features, targets, weight, n_replicas))
        return strategy.reduce("SUM", loss, axis=None), strategy.gather(logits, axis=0)

    def step(features: NDArray[Any], targets: NDArray[np.float32]) -> tuple[float, Any]:
        n_rows = len(features)
        parts = np.array_split(np.arange(n_rows), n_replicas)
        n_local = _n_local(strategy)
        first = rank_and_size()[0] * n_local
        mine = parts[first : first + n_local]
        # All replicas must take the step; one without rows takes the first row with weight 0.
        shown = [part if part.size else np.array([0]) for part in mine]
        weights = [np.float32(part.size / n_rows) for part in mine]
        loss, logits = together(
            _per_replica(strategy, [features[part] for part in shown]),
            _per_replica(strategy, [targets[part] for part in shown]),
            _per_replica(strategy, weights),
        )
        return float(loss), logits.numpy()[:n_rows]

    return step


def _per_replica(strategy: Any, values: list[Any]) -> Any:
    import tensorflow

    remaining = iter(values)
    return strategy.experimental_distribute_values_from_function(
        lambda _: tensorflow.constant(next(remaining))
    )


def rank_and_size() -> tuple[int, int]:
    """The number of this process and the number of processes: (0, 1) without a cluster."""
    described = os.environ.get(_CLUSTER)
    if described is None:
        return 0, 1
    import tensorflow

    if getattr(tensorflow.distribute.get_strategy(), "cluster_resolver", None) is None:
        return 0, 1
    document = json.loads(described)
    return int(document["task"]["index"]), len(document["cluster"]["worker"])


def _n_local(strategy: Any) -> int:
    return int(strategy.num_replicas_in_sync) // rank_and_size()[1]


def _with_aggregation(create: Callable[..., Any], **options: Any) -> Any:
    """Let the first replica decide the state of random numbers, which Keras leaves undefined."""
    import tensorflow

    unset = tensorflow.VariableAggregation.NONE
    if options.get("aggregation", unset) == unset and not options.get("trainable", True):
        options["aggregation"] = tensorflow.VariableAggregation.ONLY_FIRST_REPLICA
    return create(**options)
