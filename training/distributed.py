"""Several GPUs or machines, by `tf.distribute`: `[distribute] strategy` of a configuration.

Every process runs the same program with the same seeds, so all draw the same batches; each replica
takes its slice of a batch, and the gradients are summed before the step. So the weights are those
of one process, to rounding (but dropout draws once a replica, so with it they are others). What is
frozen is shared out too: each process answers for its tiles and all receive the answers.
`multi_worker` reads its peers from TF_CONFIG, as TensorFlow defines it.
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
    """Inside, graphs are built on all devices and trained by all processes together.

    Enter it before anything else asks TensorFlow for something.

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
            f"The workers cannot go on together ({type(error).__name__}). If one was lost, start "
            "all of them again."
        ) from error


def _make_strategy(multi_worker: bool) -> Any:
    import tensorflow

    if multi_worker:
        return tensorflow.distribute.MultiWorkerMirroredStrategy()
    # Without GPUs TensorFlow would take one CPU, also where it is told to make several of it.
    devices = (tensorflow.config.list_logical_devices(kind) for kind in ("GPU", "CPU"))
    chosen = next(found for found in devices if found)
    return tensorflow.distribute.MirroredStrategy([device.name for device in chosen])


def require_cluster(described: str | None) -> None:
    """Hold TF_CONFIG against what a cluster needs, before a worker waits for peers in vain.

    Raises:
        ClusterError: with what is wrong.
    """
    example = (
        '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", '
        '"index": 0}}'
    )
    if described is None:
        raise ClusterError(
            f"distribute.strategy is 'multi_worker' and {_CLUSTER} is not set: {example}."
        )
    try:
        document = json.loads(described)
        workers, task = document["cluster"]["worker"], document["task"]
        known = task["type"] == "worker" and 0 <= task["index"] < len(workers)
    except (ValueError, LookupError, TypeError) as error:
        raise ClusterError(f"{_CLUSTER} is no description of a cluster: {example}.") from error
    if not known:
        raise ClusterError(f"{_CLUSTER}: task is not one of the {len(workers)} workers.")


def is_chief() -> bool:
    """Whether this process writes the results; one of a cluster does."""
    return _rank()[0] == 0


def share() -> tuple[int, int]:
    """This process's number and how many there are: (0, 1) where it is alone."""
    return _rank()


def gather_rows(rows: NDArray[Any]) -> NDArray[Any]:
    """The rows of all processes, in the order of their numbers: `[n, ...]` of any n."""
    if _rank()[1] == 1:
        return rows
    import tensorflow

    strategy = tensorflow.distribute.get_strategy()
    n_local = _n_local(strategy)
    slices = [rows, *[rows[:0]] * (n_local - 1)]
    gathered: NDArray[Any] = strategy.gather(_per_replica(strategy, slices), axis=0).numpy()
    return gathered


def bytes_of_first(content: bytes | None) -> bytes | None:
    """What the first process has, given to all; every process must call it."""
    if _rank()[1] == 1:
        return content
    # Collectives move numbers: the length (-1 for None), then the bytes, four to a number.
    mine = np.empty(0, np.int32)
    if is_chief():
        size = -1 if content is None else len(content)
        padded = (content or b"") + bytes(-max(size, 0) % 4)
        mine = np.concatenate([np.array([size], np.int32), np.frombuffer(padded, np.int32)])
    size, *_ = gathered = gather_rows(mine)
    return None if size < 0 else gathered[1:].tobytes()[:size]


def agreed(found: bool) -> bool:
    """What the first process found, for all of them; every process must call it."""
    return bytes_of_first(b"" if found else None) is not None


def on_all_replicas(replica_step: Callable[..., Any]) -> Callable[..., Any] | None:
    """A training step that all replicas take together; None where there is but one device.

    Args:
        replica_step: (features, targets, weight, n_replicas) to (loss, logits), of one replica's
            slice; `weight` is the slice's share of the batch and multiplies its loss.

    Returns:
        (features, targets) of the whole batch to (loss, logits) of the whole batch.
    """
    import tensorflow

    strategy = tensorflow.distribute.get_strategy()
    if not tensorflow.distribute.has_strategy():
        return None
    n_replicas = strategy.num_replicas_in_sync

    @tensorflow.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def together(features: Any, targets: Any, weight: Any) -> Any:
        loss, logits = strategy.run(replica_step, args=(features, targets, weight, n_replicas))
        return strategy.reduce("SUM", loss, axis=None), strategy.gather(logits, axis=0)

    def step(features: NDArray[Any], targets: NDArray[np.float32]) -> tuple[float, Any]:
        n_rows = len(features)
        parts = np.array_split(np.arange(n_rows), n_replicas)
        n_local = _n_local(strategy)
        first = _rank()[0] * n_local
        mine = parts[first : first + n_local]
        # A replica without rows takes the first one with weight 0: all must take the step.
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


def _rank() -> tuple[int, int]:
    described = os.environ.get(_CLUSTER)
    if described is None:
        return 0, 1
    import tensorflow

    if getattr(tensorflow.distribute.get_strategy(), "cluster_resolver", None) is None:
        return 0, 1
    document = json.loads(described)
    return int(document["task"]["index"]), len(document["cluster"]["worker"])


def _n_local(strategy: Any) -> int:
    return int(strategy.num_replicas_in_sync) // _rank()[1]


def _with_aggregation(create: Callable[..., Any], **options: Any) -> Any:
    """Keras leaves open how replicas agree on its random numbers' state; the first decides."""
    import tensorflow

    unset = tensorflow.VariableAggregation.NONE
    if options.get("aggregation", unset) == unset and not options.get("trainable", True):
        options["aggregation"] = tensorflow.VariableAggregation.ONLY_FIRST_REPLICA
    return create(**options)
