"""How long exports take, and PyTorch against ONNX Runtime per 10 s window.

Both engines get the same threads and inputs, run in turns, and are reported as medians, so that
a noisy machine hurts both alike: read the ratios. Weights do not matter for speed: WeSpeaker,
whose checkpoint is not on PyPI, runs with random ones.

Usage: python benchmarks/bench_export.py [--threads N] [--rounds N] [--skip-export]
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from voxport.export import reference
from voxport.export.checkpoints import (
    EmbeddingCheckpoint,
    Provenance,
    load_embedding,
    load_segmentation,
)
from voxport.export.checkpoints.architectures import resnet_name
from voxport.export.networks import Networks, evaluation_mode
from voxport.export.onnx_format import OnnxFormat
from voxport.export.run import run_export
from voxport.export.specs import ExportSpec, embedding_spec, segmentation_specs
from voxport.graphs import ResNetConfig, ResNetTrunk, SpeakerEmbedding
from voxport.runtime.onnx_session import OnnxSession
from voxport.runtime.options import Options
from voxport.runtime.session import Session

BATCHES = (1, 8, 32)
Job = Callable[[], object]


@dataclass(frozen=True)
class Subject:
    """A network in every form that is timed."""

    name: str
    spec: ExportSpec
    networks: Networks
    original: Callable[[nn.Module, torch.Tensor, torch.Tensor], object]


def say(line: str = "") -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def random_wespeaker() -> EmbeddingCheckpoint:
    """A checkpoint of WeSpeaker's architecture with PyTorch's initial weights."""
    torch.manual_seed(0)
    config = ResNetConfig()
    state = {resnet_name(name): value for name, value in ResNetTrunk(config).state_dict().items()}
    provenance = Provenance("random", "initial weights", "none", "", 0)
    return EmbeddingCheckpoint(provenance, "wespeaker", config, state, Path("random"))


def subjects() -> list[Subject]:
    """Segmentation and both embedding networks."""
    networks = Networks(load_segmentation(), (load_embedding("campplus"), random_wespeaker()))
    config = networks.segmentation.config

    def segmentation(_: nn.Module, waveform: torch.Tensor, __: torch.Tensor) -> object:
        return reference.segmentation_log_probs(
            networks.segmentation.state,
            waveform,
            sinc_stride=config.sinc_stride,
            sample_rate_hz=config.sample_rate_hz,
        )

    def embedding(family: str) -> Callable[[nn.Module, torch.Tensor, torch.Tensor], object]:
        frames_of, head_of = {
            "campplus": (reference.campplus_frames, reference.campplus_head),
            "wespeaker": (reference.resnet_frames, reference.resnet_head),
        }[family]
        state = networks.embedding(family).state

        def run(module: nn.Module, waveform: torch.Tensor, masks: torch.Tensor) -> object:
            assert isinstance(module, SpeakerEmbedding)  # noqa: S101 -- narrows the type
            features = module.fbank(waveform)
            frames = frames_of(state, features - features.mean(dim=1, keepdim=True))
            return reference.embeddings_per_speaker(
                frames, masks, lambda statistics: head_of(state, statistics)
            )

        return run

    return [
        Subject("segmentation", segmentation_specs(networks)[0], networks, segmentation),
        *(
            Subject(f"embedding_{f}", embedding_spec(networks, f), networks, embedding(f))
            for f in networks.families
        ),
    ]


def medians_ms(jobs: dict[str, Job], rounds: int) -> dict[str, float]:
    """Median milliseconds of each job, run in turns after one warm-up each."""
    for job in jobs.values():
        job()
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, job in jobs.items():
            started = time.perf_counter()
            job()
            times[name].append((time.perf_counter() - started) * 1e3)
    return {name: statistics.median(values) for name, values in times.items()}


def jobs_of(
    subject: Subject, module: nn.Module, sessions: dict[str, Session], batch: int
) -> dict[str, Job]:
    """The network in textbook PyTorch, in re-authored PyTorch, and per precision in ORT."""
    rng = np.random.default_rng(batch)
    waveform = rng.normal(scale=0.1, size=(batch, 1, 160000)).astype(np.float32)
    masks = (rng.random((batch, 3, 589)) < 0.4).astype(np.float32)
    inputs = {"waveform": waveform, "masks": masks}
    arrays = {spec.name: inputs[spec.name] for spec in subject.spec.inputs}
    tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
    declared = [tensors[name] for name in arrays]
    return {
        "original": lambda: subject.original(module, tensors["waveform"], tensors["masks"]),
        "re-authored": lambda: module(*declared),
        **{p: lambda s=session: s.run(**arrays) for p, session in sessions.items()},
    }


def bench_engines(subject: Subject, threads: int, rounds: int) -> None:
    """Print a row per batch size."""
    module = evaluation_mode(subject.spec.build, subject.networks)
    sessions = {}
    with tempfile.TemporaryDirectory() as folder:
        candidates = OnnxFormat().candidates(
            subject.spec, module, subject.networks, ("fp32", "int8"), Path(folder)
        )
        for each in candidates:
            content = each.path.read_bytes()
            options = Options(intra_op_threads=threads)
            session = OnnxSession(content, subject.name, options=options)
            sessions[each.description.precision] = session
    for batch in BATCHES:
        with torch.inference_mode():
            ms = medians_ms(jobs_of(subject, module, sessions, batch), rounds)
        per_window = {name: value / batch for name, value in ms.items()}
        cells = [f"{per_window.get(name, float('nan')):.1f}" for name in _COLUMNS]
        ratios = [
            f"{per_window[name] / per_window['fp32']:.2f}x" for name in ("original", "re-authored")
        ]
        say(f"| {subject.name} | {batch} | {' | '.join(cells)} | {' | '.join(ratios)} |")


_COLUMNS = ("original", "re-authored", "fp32", "int8")


def bench_exports() -> None:
    """Print the seconds that each artifact takes: all formats, precisions and gates."""
    networks = Networks(load_segmentation(), (load_embedding("campplus"),))
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        result = run_export(networks, Path(folder))
        total = time.perf_counter() - started
    say("| artifact | seconds: every format and precision, all gates |")
    say("|---|---:|")
    for name, seconds in result.seconds.items():
        say(f"| {name} | {seconds:.1f} |")
    say(f"| **all** | **{total:.1f}** |")
    say()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--skip-export", action="store_true")
    options = parser.parse_args()
    if not options.skip_export:
        bench_exports()
    torch.set_num_threads(options.threads)
    say(f"Milliseconds per 10 s window, medians of {options.rounds}, {options.threads} threads.")
    say("(FP16 has no CPU kernels of its own: it is for GPUs, and not timed here.)")
    say()
    headings = (
        "network",
        "batch",
        "PyTorch, original form",
        "PyTorch, re-authored",
        "ORT fp32",
        "ORT int8",
        "original / fp32",
        "re-authored / fp32",
    )
    say(f"| {' | '.join(headings)} |")
    say("|---" + "|---:" * (len(headings) - 1) + "|")
    for subject in subjects():
        bench_engines(subject, options.threads, options.rounds)


if __name__ == "__main__":
    main()
