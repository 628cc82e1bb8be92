"""Devices, precisions and batch sizes of an artifact against each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import product
from statistics import median

import numpy as np

from ..audio_source import AudioSource
from ..environment import known_environment
from ..errors import ArtifactNotFoundError, InputError
from ..locate import find_models
from ..manifest import MANIFEST_NAME, Manifest
from ..onnx_runtime import import_onnxruntime
from ..options import DEFAULT_OPTIONS, Options
from ..profiling.measuring import Round
from ..profiling.profiler import DEVICE_ERRORS
from .result import Benchmark, Measured, NotRun
from .variant import Choice, Name, Setting, Variant, is_file

DEFAULT_ROUNDS = 20


def bench(  # noqa: PLR0913 -- one keyword for each choice
    name: Name,
    audio: AudioSource | None = None,
    *,
    devices: Sequence[str] = ("auto",),
    precisions: Sequence[str] = ("auto",),
    batch_sizes: Sequence[int] = (),
    rounds: int = DEFAULT_ROUNDS,
    models: Name | None = None,
    options: Options = DEFAULT_OPTIONS,
    source_rate_hz: int | None = None,
) -> Benchmark:
    """Measure every device with every precision and batch size, in rounds.

    All are loaded and warm before the first round, and each round runs each of them once, there
    and back, so that a machine that slows down slows all of them down.

    Args:
        name: as ``load`` takes it.
        audio: what ``read_audio`` takes, cut into windows that follow each other, for artifacts
            that take windows of audio. Others, and all without audio, run on synthetic inputs, one
            call to a round.
        devices, precisions: as ``load`` takes them; what cannot be used is noted in the result.
        batch_sizes: items per call; none: what ``run_batched`` takes. Without effect on artifacts
            in which something has no batch axis. What comes to the same is measured once.
        rounds: that are counted, from 1.
        models: folder to look in.
        options: of the sessions.
        source_rate_hz: rate of audio given as an array.

    Raises:
        ArtifactNotFoundError: no artifact of that name.
        InputError: nothing to measure, or a batch size that the artifact does not take.
        AudioError: audio that cannot be used.
        VoxportError: what ``load`` and ``Session.run`` raise that is not about a device.
    """
    if rounds < 1 or not devices or not precisions or any(size < 1 for size in batch_sizes):
        raise InputError(
            f"rounds and batch sizes must be at least 1, and devices and precisions named; got "
            f"{rounds}, {list(batch_sizes)}, {list(devices)} and {list(precisions)}"
        )
    if not is_file(name):
        _check_name(str(name), models)
    # Once per process, and not the first variant's doing.
    import_onnxruntime()
    known_environment()
    setting = Setting(name, audio, source_rate_hz, models, options)
    with ExitStack() as stack:
        variants = _Variants(setting, stack)
        for device, precision in product(devices, precisions):
            variants.add(device, precision, batch_sizes or (None,))
        measured = variants.rounds(rounds)
    on_audio = any(variant.on_audio for variant in measured)
    return Benchmark(str(name), on_audio, tuple(_figures(measured)), tuple(variants.not_run))


def artifact_names(models: Name | None = None) -> tuple[str, ...]:
    """All artifacts of a models folder, sorted.

    Raises:
        ArtifactNotFoundError: there is none, or no models folder.
    """
    folder = find_models(models)
    names = {row.name for row in Manifest.read(folder / MANIFEST_NAME).artifacts}
    if not names:
        raise ArtifactNotFoundError(f"{folder} has no artifacts")
    return tuple(sorted(names))


def _check_name(name: str, models: Name | None) -> None:
    names = artifact_names(models)
    if name not in names:
        raise ArtifactNotFoundError(f"no artifact {name!r}; there are: {', '.join(names)}")


class _Variants:
    """Variants that are warm, each once, and what could not run."""

    def __init__(self, setting: Setting, stack: ExitStack) -> None:
        """``stack`` closes their sessions."""
        self._setting, self._stack = setting, stack
        self._warm: dict[tuple[str, str, int], Variant] = {}
        self.not_run: list[NotRun] = []

    def add(self, device: str, precision: str, batch_sizes: Sequence[int | None]) -> None:
        """Load, and run for the first time, in each batch size."""
        for size in batch_sizes:
            choice = Choice(device, precision, size)
            try:
                variant = Variant(self._setting, choice)
            # A precision that there is not, of a name that there is, is one more thing to tell.
            except (*DEVICE_ERRORS, ArtifactNotFoundError) as error:
                self._tell(replace(choice, batch_size=None), error)
                return
            self._stack.enter_context(variant.session)
            try:
                if variant.key not in self._warm:
                    variant.warm_up()
                    self._warm[variant.key] = variant
                    continue
            except DEVICE_ERRORS as error:
                self._tell(choice, error)
            variant.session.close()

    def rounds(self, count: int) -> dict[Variant, list[Round]]:
        """Each variant's rounds; one whose device fails meanwhile is left out, and told."""
        measured: dict[Variant, list[Round]] = {variant: [] for variant in self._warm.values()}
        for number in range(count):
            order = list(measured)
            for variant in order if number % 2 == 0 else reversed(order):
                try:
                    measured[variant].append(variant.round())
                except DEVICE_ERRORS as error:
                    self._tell(variant.choice, error)
                    del measured[variant]
        return measured

    def _tell(self, choice: Choice, error: Exception) -> None:
        entry = NotRun(
            str(self._setting.name), choice.precision, choice.device, choice.batch_size, str(error)
        )
        self.not_run.append(entry)


def _figures(measured: dict[Variant, list[Round]]) -> Iterator[Measured]:
    first = next(iter(measured.values()), [])
    for variant, rounds in measured.items():
        calls_s = [seconds for one in rounds for seconds in one.calls_s]
        ratios = [_per_item_s(a) / _per_item_s(b) for a, b in zip(first, rounds, strict=True)]
        yield Measured(
            name=variant.session.description.name,
            precision=variant.session.description.precision,
            device=variant.session.device,
            batch_size=variant.workload.batch_size,
            num_calls=rounds[0].num_calls,
            num_items=rounds[0].num_windows,
            audio_duration_s=rounds[0].audio_duration_s,
            rounds=len(rounds),
            load_s=variant.load_s,
            first_call_s=variant.first_call_s,
            latency_s=median(calls_s),
            latency_p95_s=float(np.percentile(calls_s, 95)),
            round_s=median(one.session_s for one in rounds),
            speedup=median(ratios),
            peak_host_bytes=variant.peak_host_bytes,
            peak_device_bytes=variant.peak_device_bytes(),
        )


def _per_item_s(one: Round) -> float:
    return one.session_s / one.num_windows
