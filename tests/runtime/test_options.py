"""Options: what is accepted, what contradicts itself."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from voxport.runtime import VoxportError
from voxport.runtime.errors import OptionsError
from voxport.runtime.options import DEFAULT_OPTIONS, Options


def test_the_defaults_are_exact_and_frugal() -> None:
    assert Options() == DEFAULT_OPTIONS
    assert dataclasses.asdict(DEFAULT_OPTIONS) == {
        "device_id": 0,
        "gpu_memory_fraction": None,
        "gpu_memory_limit_bytes": None,
        "gpu_allow_growth": True,
        "tf32": False,
        "exhaustive_convolution_search": False,
        "cuda_graphs": False,
        "intra_op_threads": None,
        "inter_op_threads": None,
        "graph_optimisation": "all",
        "compute_units": "all",
        "batch_buckets": None,
        "batch_across_calls": False,
        "request_timeout_s": 60.0,
        "request_retries": 3,
    }


def test_options_are_a_value() -> None:
    options = Options(batch_buckets=(1, 8))
    assert {options: 1}[Options(batch_buckets=(1, 8))] == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.tf32 = True  # type: ignore[misc]


@pytest.mark.parametrize(
    "fields",
    [
        {"gpu_memory_fraction": 1},
        {"gpu_memory_fraction": 1e-6},
        {"gpu_memory_limit_bytes": 1},
        {"device_id": 15},
        {"intra_op_threads": 1, "inter_op_threads": 64},
        {"graph_optimisation": "off", "compute_units": "cpu_and_ne"},
        {"batch_buckets": (32,)},
        {"request_timeout_s": 0.1, "request_retries": 0},
        {"request_timeout_s": 86400, "request_retries": 1000},
        {"cuda_graphs": True, "exhaustive_convolution_search": True, "batch_buckets": (1, 8)},
    ],
)
def test_accepted(fields: dict[str, Any]) -> None:
    options = Options(**fields)
    assert {name: getattr(options, name) for name in fields} == fields


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"device_id": -1}, "device_id must be a whole number from 0, got -1"),
        ({"device_id": "0"}, "device_id must be a whole number from 0, got '0'"),
        ({"device_id": True}, "device_id must be a whole number from 0, got True"),
        ({"device_id": None}, "device_id must be a whole number from 0, got None"),
        ({"gpu_memory_fraction": 0}, "gpu_memory_fraction must be above 0 and at most 1, got 0"),
        ({"gpu_memory_fraction": 1.01}, "gpu_memory_fraction must be above 0 and at most 1"),
        ({"gpu_memory_fraction": -0.5}, "gpu_memory_fraction must be above 0 and at most 1"),
        ({"gpu_memory_fraction": float("nan")}, "at most 1, got nan"),
        ({"gpu_memory_fraction": float("inf")}, "at most 1, got inf"),
        ({"gpu_memory_fraction": "half"}, "at most 1, got 'half'"),
        ({"gpu_memory_fraction": True}, "at most 1, got True"),
        (
            {"gpu_memory_fraction": 0.5, "gpu_memory_limit_bytes": 1000},
            "give gpu_memory_fraction or gpu_memory_limit_bytes, not both",
        ),
        ({"gpu_memory_limit_bytes": 0}, "gpu_memory_limit_bytes must be a whole number from 1"),
        ({"gpu_memory_limit_bytes": 1e9}, "gpu_memory_limit_bytes must be a whole number from 1"),
        ({"gpu_allow_growth": 1}, "gpu_allow_growth must be True or False, got 1"),
        ({"tf32": "yes"}, "tf32 must be True or False, got 'yes'"),
        ({"request_retries": -1}, "request_retries must be a whole number from 0, got -1"),
        ({"request_retries": 1.0}, "request_retries must be a whole number from 0, got 1.0"),
        ({"request_timeout_s": 0}, "request_timeout_s must be above 0 and at most 86400 seconds"),
        ({"request_timeout_s": float("inf")}, "at most 86400 seconds, got inf"),
        ({"request_timeout_s": float("nan")}, "at most 86400 seconds, got nan"),
        ({"request_timeout_s": True}, "at most 86400 seconds, got True"),
        ({"request_timeout_s": None}, "at most 86400 seconds, got None"),
        ({"intra_op_threads": 0}, "intra_op_threads must be a whole number from 1, got 0"),
        ({"inter_op_threads": -2}, "inter_op_threads must be a whole number from 1, got -2"),
        (
            {"graph_optimisation": "max"},
            "graph_optimisation must be one of off, basic, extended, all, got 'max'",
        ),
        (
            {"compute_units": "gpu"},
            "compute_units must be one of all, cpu_only, cpu_and_gpu, cpu_and_ne, got 'gpu'",
        ),
        ({"cuda_graphs": True}, "cuda_graphs costs seconds for every new shape: .* batch_buckets"),
        ({"exhaustive_convolution_search": True}, "exhaustive_convolution_search costs seconds"),
        ({"batch_buckets": ()}, r"batch_buckets must be a tuple of batch sizes, got \(\)"),
        ({"batch_buckets": [1, 8]}, r"batch_buckets must be a tuple of batch sizes, got \[1, 8\]"),
        ({"batch_buckets": (8, 1)}, r"batch_buckets must ascend, got \(8, 1\)"),
        ({"batch_buckets": (8, 8)}, r"batch_buckets must ascend, got \(8, 8\)"),
        ({"batch_buckets": (0, 8)}, "each of batch_buckets must be a whole number from 1, got 0"),
        ({"batch_buckets": (1.0,)}, "each of batch_buckets must be a whole number from 1"),
    ],
)
def test_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionsError, match=message) as caught:
        Options(**fields)
    assert isinstance(caught.value, VoxportError)
    assert isinstance(caught.value, ValueError)


def test_every_option_is_documented() -> None:
    text = Options.__doc__ or ""
    for field in dataclasses.fields(Options):
        assert f"\n        {field.name}: " in text
