"""What the functions for a GPU do not take, and what they say."""

from typing import Any

import numpy as np
import pytest
from gpu_arrays import OnGpu

from caffelite.errors import GpuError
from caffelite.kernels.cuda import batchnorm

X = np.ones((2, 3, 4))


def changed(**facts: Any) -> OnGpu:
    array = OnGpu(X)
    array.changes = facts
    return array


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (dict(x=X), "x is of type ndarray, expected an array on a GPU, which has __cuda_array_interface__"),
        (dict(x=changed(typestr="<f8")), "x has elements of type <f8, expected float32, float16 or bfloat16"),
        (dict(y=OnGpu(X, "float16")), "y has elements of type float16, expected float32"),
        (dict(y=OnGpu(X[:1])), "y has shape 1×3×4, expected 2×3×4"),
        (dict(x=changed(strides=(48, 4, 12))), "x is not contiguous (its strides are 48, 4, 12 bytes); make a copy"),
        (dict(x=changed(mask=X)), "x has a mask"),
        (dict(y=changed(data=(64, True))), "y is read-only"),
        (dict(x=OnGpu(X[:0])), "x has shape 0×3×4, expected at least one element"),
        (dict(x=OnGpu(X[0, 0])), "x has shape 4, expected images × channels"),
        (dict(factor=OnGpu(np.ones(4))), "factor has shape 4, expected 3"),
        (dict(saved=OnGpu(np.ones((2, 3)))), "saved has shape 2×3, expected 3×3"),
        (dict(activation="TanH"), 'there is no activation "TanH"'),
        (dict(stream="s"), "stream is of type str, expected a stream"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_is_one_sentence(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(GpuError) as caught:
        batchnorm.forward(**{"x": OnGpu(X), "y": OnGpu(X), **arguments})
    assert text in str(caught.value) and "\n" not in str(caught.value)


def test_backward_needs_what_was_saved() -> None:
    with pytest.raises(GpuError, match="saved is None"):
        batchnorm.backward(OnGpu(X), OnGpu(X), OnGpu(X), None)


def test_what_an_array_says_itself_is_told() -> None:
    class Refuses:
        @property
        def __cuda_array_interface__(self) -> dict[str, Any]:
            raise RuntimeError("Can't get it on a tensor\nthat requires grad.")

    with pytest.raises(GpuError, match="x cannot be taken: Can't get it on a tensor that requires grad."):
        batchnorm.forward(Refuses(), OnGpu(X))
