"""How fast artifacts are on one device or several, in one precision or several, side by side."""

from .bench import artifact_names, bench
from .result import Benchmark, Measured, NotRun
from .table import benchmark_table

__all__ = ["Benchmark", "Measured", "NotRun", "artifact_names", "bench", "benchmark_table"]
