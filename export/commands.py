"""``voxport export`` and ``voxport verify``. Light to import: torch is loaded when they run."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ..runtime.commands import Command
from ..runtime.errors import MissingDependencyError
from ..runtime.manifest import MANIFEST_NAME, Manifest
from .triton.command import add_triton_options, export_repository

if TYPE_CHECKING:
    from .checkpoints import VggishCheckpoint
    from .networks import Networks

_PRECISIONS = ("fp32", "fp16", "int8", "w8")
_FORMATS = ("onnx", "coreml")
_TARGETS = ("iOS17", "iOS18")
_FAMILIES = ("campplus", "wespeaker")
_NEEDED = ("torch", "onnx", "onnxsim", "onnxruntime", "filelock")


def _amount(text: str) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise ValueError(text)
    return value


def _default_formats() -> tuple[str, ...]:
    return _FORMATS[:1] if sys.platform == "win32" else _FORMATS


def _names(known: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    """Reads names of ``known``, separated by commas."""

    def names(text: str) -> tuple[str, ...]:
        given = tuple(name.strip() for name in text.split(","))
        unknown = [name for name in given if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"{unknown} not in {', '.join(known)}")
        return given

    return names


def _add_checkpoint_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("checkpoints (defaults: segmentation-3.0 and CAM++)")
    group.add_argument("--segmentation", type=Path, metavar="PATH", help="a PyanNet checkpoint")
    group.add_argument(
        "--embedding",
        action="append",
        choices=_FAMILIES,
        help="embedding network, may be repeated; the first one goes into diarization_window",
    )
    group.add_argument(
        "--embedding-checkpoint",
        action="append",
        type=Path,
        metavar="PATH",
        help="its checkpoint; one per --embedding, in the same order (alone: CAM++)",
    )
    group.add_argument(
        "--vggish-checkpoint",
        type=Path,
        metavar="PATH",
        help="a VGGish: PyTorch's layout (.pth, .safetensors), or TensorFlow's (vggish_model.ckpt, "
        "NAME.index, or the variables by name in .npz)",
    )
    group.add_argument(
        "--vggish-pca",
        type=Path,
        metavar="PATH",
        help="its PCA: pca_eigen_vectors and pca_means, where the checkpoint has none",
    )
    group.add_argument(
        "--vggish-activation",
        choices=("relu", "none"),
        help="what its embeddings end in (default: relu in PyTorch's layout, none in TensorFlow's)",
    )
    group.add_argument("--max-speakers", type=int, metavar="N", help="if the checkpoint omits it")
    group.add_argument(
        "--max-simultaneous", type=int, metavar="N", help="if the checkpoint omits it"
    )


def _add_post_embedding_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("post_embedding")
    group.add_argument("--activity-threshold", type=_amount, default=10.0, metavar="FRAMES")
    group.add_argument("--min-duration", type=_amount, default=1.0, metavar="SECONDS")


def _configure_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--out", type=Path, default=Path("models"), metavar="FOLDER")
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="an artifact; may be repeated"
    )
    parser.add_argument(
        "--formats",
        type=_names(_FORMATS),
        default=_default_formats(),
        metavar="F,F",
        help=f"of {', '.join(_FORMATS)} (default: both, but on Windows, which has no coremltools)",
    )
    parser.add_argument(
        "--precisions",
        type=_names(_PRECISIONS),
        default=_PRECISIONS,
        metavar="P,P",
        help=f"of {', '.join(_PRECISIONS)}; int8 is ONNX's and w8 Core ML's (default: all)",
    )
    parser.add_argument(
        "--target",
        choices=_TARGETS,
        default=_TARGETS[0],
        help="deployment target of Core ML packages; iOS18 ones have functions for batches of "
        "1 and 32 (default: %(default)s, which is macOS 14)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="settings",
        metavar="NAME.OPTION=VALUE",
        help="how an artifact is made, such as mel_matrix.n_fft=512; may be repeated",
    )
    _add_checkpoint_options(parser)
    _add_post_embedding_options(parser)
    add_triton_options(parser)


def _configure_verify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, nargs="?", default=Path("models"))
    _add_checkpoint_options(parser)


def _require_export_extra() -> None:
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f"this command needs {', '.join(missing)}: `pip install voxport[export,cpu]`"
        )


def _networks(options: argparse.Namespace, default_families: Sequence[str]) -> Networks:
    from .checkpoints import load_embedding, load_segmentation  # noqa: PLC0415 -- loads torch
    from .errors import ExportError  # noqa: PLC0415
    from .networks import Networks  # noqa: PLC0415

    families = options.embedding or default_families
    paths = list(options.embedding_checkpoint or [])
    if len(set(families)) != len(families):
        raise ExportError("an embedding network can be given once")
    if len(paths) > len(families):
        raise ExportError("more --embedding-checkpoint than --embedding: say which is which")
    paths += [None] * (len(families) - len(paths))
    vggish = _vggish(options)
    segmentation = load_segmentation(
        options.segmentation,
        max_speakers=options.max_speakers,
        max_simultaneous=options.max_simultaneous,
    )
    embeddings = [load_embedding(f, p) for f, p in zip(families, paths, strict=True)]
    return Networks(segmentation, tuple(embeddings), vggish)


def _vggish(options: argparse.Namespace) -> VggishCheckpoint | None:
    from .checkpoints import load_vggish  # noqa: PLC0415 -- loads torch
    from .errors import ExportError  # noqa: PLC0415

    if options.vggish_checkpoint is not None:
        activation = options.vggish_activation
        rectified = None if activation is None else activation == "relu"
        return load_vggish(options.vggish_checkpoint, options.vggish_pca, rectified=rectified)
    for option in ("vggish_pca", "vggish_activation"):
        if getattr(options, option) is not None:
            name = option.replace("_", "-")
            raise ExportError(f"--{name} belongs to a --vggish-checkpoint")
    return None


def _export(options: argparse.Namespace) -> int:
    _require_export_extra()
    if options.triton is None:
        _export_artifacts(options)
        return 0
    defaults = argparse.ArgumentParser()
    _configure_export(defaults)
    export_repository(options, defaults, _export_artifacts)
    return 0


def _export_artifacts(options: argparse.Namespace) -> None:
    from .run import ExportOptions, run_export  # noqa: PLC0415 -- loads torch

    chosen = ExportOptions(
        formats=options.formats,
        target=options.target,
        precisions=options.precisions,
        only=tuple(options.only),
        activity_threshold_frames=options.activity_threshold,
        min_duration_s=options.min_duration,
        settings=tuple(options.settings),
    )
    run_export(_networks(options, ["campplus"]), options.out, chosen)


def _verify(options: argparse.Namespace) -> int:
    _require_export_extra()
    from .run import run_verify  # noqa: PLC0415 -- loads torch

    manifest = Manifest.read(options.folder / MANIFEST_NAME)
    return run_verify(_networks(options, _families_in(manifest)), options.folder)


def _families_in(manifest: Manifest) -> list[str]:
    """Embedding networks of published artifacts, that of diarization_window first."""
    networks = {
        entry.get("network") for row in manifest.artifacts for entry in row.description.checkpoints
    }
    found = [family for family in _FAMILIES if family in networks]
    for row in manifest.artifacts:
        if row.name == "diarization_window":
            fused = {entry.get("network") for entry in row.description.checkpoints}
            found.sort(key=lambda family: family not in fused)
    return found or ["campplus"]


def _configure_fetch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="+", help="a registered checkpoint or recording")


def _fetch(options: argparse.Namespace) -> int:
    _require_export_extra()
    from .checkpoints import fetch  # noqa: PLC0415 -- loads torch

    for name in options.name:
        sys.stdout.write(f"{fetch(name)}\n")
    return 0


FETCH = Command(
    "fetch a registered file into the cache and print its path", _configure_fetch, _fetch
)
EXPORT = Command("make verified artifacts from checkpoints", _configure_export, _export)
VERIFY = Command("repeat all checks on existing artifacts", _configure_verify, _verify)
