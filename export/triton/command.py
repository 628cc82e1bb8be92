"""``voxport export --triton DIR``. Light to import: nothing is loaded until it runs."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from ...runtime.batching import CUDA_BATCH_SIZES
from ...runtime.manifest import MANIFEST_NAME, Manifest
from ..errors import ExportError

# Options that change what an export makes, and their flags where these are called otherwise.
_MAKING = (
    *("settings", "segmentation", "embedding", "embedding_checkpoint", "vggish_checkpoint"),
    *("vggish_pca", "vggish_activation", "max_speakers", "max_simultaneous"),
    *("activity_threshold", "min_duration", "target"),
)
_FLAGS = {"settings": "set"}


def add_triton_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("a model repository for NVIDIA Triton")
    group.add_argument(
        "--triton",
        type=Path,
        metavar="DIR",
        help="write one, of the ONNX files in -o; what is there already is not exported again",
    )
    group.add_argument(
        "--triton-device",
        choices=("gpu", "cpu"),
        default="gpu",
        help="where the server runs the models (default: %(default)s)",
    )
    group.add_argument(
        "--triton-instances",
        type=_count,
        default=1,
        metavar="N",
        help="of each model, on each card or on the CPU (default: %(default)s)",
    )
    sizes = sorted(size for _, size in CUDA_BATCH_SIZES)
    group.add_argument(
        "--triton-max-batch",
        type=int,
        choices=sizes,
        default=sizes[-1],
        help="the largest batch on cards: 64 for cards of 24 GB, 32 of 12, 16 of 8 "
        "(default: %(default)s)",
    )


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


def export_repository(
    options: argparse.Namespace,
    defaults: argparse.ArgumentParser,
    export: Callable[[argparse.Namespace], None],
) -> None:
    """Export what is missing, then write the repository.

    Args:
        options: of ``voxport export``.
        defaults: the parser that knows their defaults.
        export: makes artifacts.

    Raises:
        ExportError: see ``write_repository``; or options are given that would change nothing.
        ArtifactError: an artifact or the manifest is damaged.
        MissingDependencyError: tritonclient is not installed.
    """
    from ..pipeline import log_to_stderr  # noqa: PLC0415 -- loads torch
    from . import repository  # noqa: PLC0415 -- loads ONNX Runtime

    choice = repository.Choice(tuple(options.only), tuple(options.precisions))
    serving = repository.Serving(
        options.triton_device, options.triton_instances, options.triton_max_batch
    )
    # Before an export of minutes.
    repository.check_possible(options.triton, options.formats)
    manifest = options.out / MANIFEST_NAME
    if not manifest.exists():
        export(options)
    elif absent := repository.missing(Manifest.read(manifest), choice):
        export(argparse.Namespace(**{**vars(options), "only": absent, "formats": ("onnx",)}))
    else:
        _refuse_making(options, defaults)
    repository.write_repository(options.out, options.triton, choice, serving, log_to_stderr)


def _refuse_making(options: argparse.Namespace, defaults: argparse.ArgumentParser) -> None:
    """Nothing is exported, so that these options would be without effect."""
    given = [name for name in _MAKING if getattr(options, name) != defaults.get_default(name)]
    if given:
        shown = ", ".join(f"--{_FLAGS.get(name, name).replace('_', '-')}" for name in given)
        raise ExportError(
            f"{options.out} has these artifacts already, so {shown} would change nothing: export "
            "without --triton first"
        )
