"""Arrays that do not fit are refused with what was expected and what came."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from voxport.runtime import Description, InputError, TensorSpec
from voxport.runtime.inputs import checked_inputs

DESCRIPTION = Description(
    name="net",
    precision="fp32",
    inputs=(
        TensorSpec("waveform", "float32", ("batch", 1, "samples")),
        TensorSpec("counts", "int64", ("batch",)),
    ),
    outputs=(),
    minimums={"samples": 4, "batch": 0},
)


def good(batch: int = 2, samples: int = 5) -> dict[str, Any]:
    return {
        "waveform": np.arange(batch * samples, dtype=np.float32).reshape(batch, 1, samples),
        "counts": np.arange(batch, dtype=np.int64),
    }


def refused(**changes: Any) -> str:
    """The message with which ``good`` inputs with ``changes`` are refused."""
    with pytest.raises(InputError) as caught:
        checked_inputs(DESCRIPTION, {**good(), **changes})
    message = str(caught.value)
    assert message.startswith("net: ")
    return message


def test_good_inputs_come_back_in_declared_order() -> None:
    arrays = good()
    checked = checked_inputs(DESCRIPTION, dict(reversed(arrays.items())))
    assert list(checked) == ["waveform", "counts"]
    for name, array in arrays.items():
        np.testing.assert_array_equal(checked[name], array)


def test_contiguous_inputs_are_not_copied() -> None:
    arrays = good()
    assert checked_inputs(DESCRIPTION, arrays)["waveform"] is arrays["waveform"]


@pytest.mark.parametrize(
    "view",
    [
        np.zeros((5, 1, 2), np.float32).T,
        np.ones((2, 1, 10), np.float32)[:, :, ::2],
        np.ones((2, 1, 5), np.float32)[::-1, :, ::-1],
        np.broadcast_to(np.float32(3.0), (2, 1, 5)),
        np.asfortranarray(np.arange(10, dtype=np.float32).reshape(2, 1, 5)),
    ],
    ids=["transposed", "strided", "reversed", "broadcast", "fortran"],
)
def test_non_contiguous_arrays_work(view: np.ndarray) -> None:
    checked = checked_inputs(DESCRIPTION, {**good(), "waveform": view})["waveform"]
    assert checked.flags.c_contiguous
    np.testing.assert_array_equal(checked, view)


def test_missing_input() -> None:
    with pytest.raises(InputError, match=r"missing \['counts'\]") as caught:
        checked_inputs(DESCRIPTION, {"waveform": good()["waveform"]})
    declared = "waveform: float32[batch, 1, samples], counts: int64[batch]"
    assert declared in str(caught.value)


def test_unknown_input() -> None:
    message = refused(masks=np.zeros(1, np.float32))
    assert "unknown ['masks']" in message
    assert "counts: int64[batch]" in message


@pytest.mark.parametrize("value", [[0, 1], None, 3, "x", (1,), np.float32(1)])
def test_what_is_no_array(value: object) -> None:
    message = refused(counts=value)
    assert "counts: int64[batch] must be a numpy array" in message
    assert type(value).__name__ in message


@pytest.mark.parametrize("dtype", ["float64", "float16", "int16", ">f4", "bool", "complex64", "O"])
def test_wrong_dtype(dtype: str) -> None:
    message = refused(waveform=np.zeros((2, 1, 5), dtype))
    assert "expected waveform: float32[batch, 1, samples]" in message
    assert f"got dtype {np.dtype(dtype)}" in message
    assert "waveform.astype(np.float32)" in message


@pytest.mark.parametrize("shape", [(), (5,), (2, 5), (2, 1, 5, 1)])
def test_wrong_rank(shape: tuple[int, ...]) -> None:
    message = refused(waveform=np.zeros(shape, np.float32))
    assert f"expected waveform: float32[batch, 1, samples], got shape {shape}" in message


@pytest.mark.parametrize("channels", [0, 2])
def test_wrong_size_of_a_fixed_axis(channels: int) -> None:
    message = refused(waveform=np.zeros((2, channels, 5), np.float32))
    assert f"expected waveform: float32[batch, 1, samples], got shape (2, {channels}, 5)" in message


def test_too_small_an_axis() -> None:
    message = refused(waveform=np.zeros((2, 1, 3), np.float32))
    assert "waveform has 3 samples, but needs at least 4" in message


def test_an_axis_needs_one_element_unless_declared_otherwise() -> None:
    described = Description("net", "fp32", (TensorSpec("x", "float32", ("rows",)),), ())
    with pytest.raises(InputError, match="x has 0 rows, but needs at least 1"):
        checked_inputs(described, {"x": np.zeros(0, np.float32)})
    assert checked_inputs(DESCRIPTION, good(batch=0))["counts"].shape == (0,)


def test_axes_of_one_name_with_different_sizes() -> None:
    message = refused(counts=np.zeros(3, np.int64))
    assert "waveform has 2 batch, but counts has 3" in message
    assert "shape (3,), expected counts: int64[batch]" in message


def test_one_name_twice_within_a_tensor() -> None:
    described = Description("net", "fp32", (TensorSpec("x", "float32", ("n", "n")),), ())
    assert checked_inputs(described, {"x": np.zeros((2, 2), np.float32)})
    with pytest.raises(InputError, match="x has 2 n, but x has 3"):
        checked_inputs(described, {"x": np.zeros((2, 3), np.float32)})


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(value: float) -> None:
    waveform = good()["waveform"]
    waveform[1, 0, 3] = value
    assert "waveform holds NaN or infinite values" in refused(waveform=waveform)


WINDOWS = Description(
    name="windows",
    precision="fp32",
    inputs=(
        TensorSpec("waveform", "float32", (1, 1, "samples")),
        TensorSpec("starts", "int64", ("windows",)),
    ),
    outputs=(),
    recipe={"start_multiple_samples": 10, "window_samples": 100},
)


@pytest.mark.parametrize("starts", [[0], [150], [150, 0, 10, 10]])
def test_windows_within_the_waveform(starts: list[int]) -> None:
    inputs = {"waveform": np.zeros((1, 1, 257), np.float32), "starts": np.array(starts)}
    np.testing.assert_array_equal(checked_inputs(WINDOWS, inputs)["starts"], starts)


@pytest.mark.parametrize(
    ("starts", "found"), [([-10], -10), ([0, 160], 160), ([0, 15], 15), ([2**62], 2**62)]
)
def test_windows_that_the_graph_would_take_from_elsewhere(starts: list[int], found: int) -> None:
    inputs = {"waveform": np.zeros((1, 1, 257), np.float32), "starts": np.array(starts)}
    with pytest.raises(InputError) as caught:
        checked_inputs(WINDOWS, inputs)
    assert str(caught.value) == (
        "windows: starts must be multiples of 10 from 0 to 157 (257 samples less a window of 100), "
        f"got {found}"
    )


def test_a_waveform_that_holds_no_window() -> None:
    inputs = {"waveform": np.zeros((1, 1, 99), np.float32), "starts": np.array([0])}
    with pytest.raises(InputError, match=r"from 0 to -1 \(99 samples less a window of 100\)"):
        checked_inputs(WINDOWS, inputs)


def fits(shape: tuple[int, ...], axes: tuple[str | int, ...]) -> bool:
    """The rule in the plainest words, for axes whose names do not repeat."""
    if len(shape) != len(axes):
        return False
    pairs = zip(shape, axes, strict=True)
    return all(size == axis if isinstance(axis, int) else size >= 1 for size, axis in pairs)


@given(
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
    st.lists(st.integers(0, 3) | st.just("free"), max_size=3),
)
def test_a_shape_is_taken_if_and_only_if_it_fits(
    shape: tuple[int, ...], pattern: list[str | int]
) -> None:
    axes = tuple(f"axis{i}" if axis == "free" else axis for i, axis in enumerate(pattern))
    described = Description("net", "fp32", (TensorSpec("x", "float32", axes),), ())
    array = np.zeros(shape, np.float32)
    if fits(shape, axes):
        # The very shape: a scalar stays a scalar.
        assert checked_inputs(described, {"x": array})["x"].shape == shape
    else:
        with pytest.raises(InputError, match="x"):
            checked_inputs(described, {"x": array})
