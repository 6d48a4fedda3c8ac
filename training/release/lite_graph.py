"""The operations of a LiteRT file, and which of them an int8 file computes in float."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

_CONVOLUTIONS: Final = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D"})


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of a graph.

    Attributes:
        kind: its name in LiteRT, such as `CONV_2D`.
        inputs, outputs: numbers of tensors.
        name: name of its first output, which the quantiser calls it by.
        is_float: whether its first output is float32.
    """

    kind: str
    inputs: frozenset[int]
    outputs: frozenset[int]
    name: str
    is_float: bool

    @property
    def is_convolution(self) -> bool:
        """Whether it is a convolution."""
        return self.kind in _CONVOLUTIONS


def read_operations(litert_file: Path) -> list[Operation]:
    """The operations in the order in which they run: inputs come before what uses them."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        str(litert_file),
        num_threads=1,
        # A delegate would be listed as one more operation.
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    operations = []
    for found in interpreter._get_ops_details():
        output = interpreter._get_tensor_details(found["outputs"][0], 0)
        operations.append(
            Operation(
                kind=found["op_name"],
                inputs=frozenset(map(int, found["inputs"])),
                outputs=frozenset(map(int, found["outputs"])),
                name=output["name"],
                is_float=output["dtype"] is np.float32,
            )
        )
    return operations


def outside_the_backbone(operations: Sequence[Operation]) -> list[Operation]:
    """What does not lead to a convolution: pooling, head, evidence maps, texture.

    What comes before the first convolution and is also used elsewhere belongs to both: texture
    measures take the pixels before they are rounded to the input of the first convolution.

    Args:
        operations: in the order in which they run.
    """
    leading: set[int] = set()  # tensors that lead to a convolution
    for operation in reversed(operations):
        if operation.is_convolution or operation.outputs & leading:
            leading |= operation.inputs
    convolved: set[int] = set()  # tensors behind a convolution
    for operation in operations:
        if operation.is_convolution or operation.inputs & convolved:
            convolved |= operation.outputs
    outside = [one for one in operations if not (one.is_convolution or one.outputs & leading)]
    used_outside = frozenset().union(*(one.inputs for one in outside))
    shared = [
        one
        for one in operations
        if one.outputs & leading & used_outside and not one.outputs & convolved
    ]
    return shared + outside
