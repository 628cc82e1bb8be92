"""Every artifact of a real export can be timed and profiled, by its name alone."""

from __future__ import annotations

from pathlib import Path

from voxport.runtime import Options
from voxport.runtime.benchmarking import artifact_names, bench
from voxport.runtime.profiling import Profiler, network_names

# Threads would gain nothing here and wait for each other on a busy machine.
_OPTIONS = Options(intra_op_threads=1)


def test_every_artifact_is_timed(models: Path) -> None:
    for name in artifact_names(models):
        found = bench(
            name, devices=("cpu",), batch_sizes=(1,), rounds=1, models=models, options=_OPTIONS
        )
        (one,) = found.measured
        assert (one.name, one.batch_size, found.not_run) == (name, 1, ())
        assert one.items_per_s > 0


def test_what_has_no_weights_has_an_efficiency_and_a_status(models: Path) -> None:
    """Mel matrices, loudness, VGGish's frontend, and the rest that no recording need be cut for."""
    profiler = Profiler(models, "cpu", rounds=1, options=_OPTIONS)
    names = set(artifact_names(models)) - set(network_names(models))
    assert {"mel_matrix", "vggish_frontend", "highlights", "highlights_score"} <= names
    for name in sorted(names):
        stage = profiler.profile(name)
        assert stage.status in ("CPU: COMPUTING", "CPU: MIXED", "CPU: OVERHEAD")
        assert 0 < stage.efficiency <= 1
        assert stage.operators
