"""What every artifact format can do: make candidates, judge them, and tell what is in them."""

from __future__ import annotations

import platform
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from torch import nn

from ..runtime.manifest import Description
from .networks import Networks
from .specs import ExportSpec, Precision
from .verification.gates import GateResult, Verifier

# The gates of one artifact; raises ArtifactError for a file that cannot even be judged.
Judge = Callable[[Description, Path], list[GateResult]]


@dataclass(frozen=True)
class Candidate:
    """An artifact that was made and has not been verified."""

    description: Description
    path: Path


class ArtifactFormat(ABC):
    """One way of storing graphs.

    Attributes:
        name: in manifests and on the command line.
        suffix: of file or folder names.
        target: the opset or the deployment target.
        optional: precisions that are left out, and said to be, where they fail a gate; any other
            failure ends the export.
        tool_names: distributions that decide which bytes come out.
    """

    name: str
    suffix: str
    target: str
    optional: frozenset[Precision]
    tool_names: tuple[str, ...]

    def path_of(self, folder: Path, description: Description) -> Path:
        """``folder/segmentation.fp16.onnx``"""
        return folder / f"{description.name}.{description.precision}{self.suffix}"

    def tools(self) -> dict[str, str]:
        """Versions of what takes part in making and judging artifacts."""
        found = {"python": platform.python_version()}
        for name in self.tool_names:
            try:
                found[name] = version(name)
            except PackageNotFoundError:  # such as the other ONNX Runtime wheel
                continue
        return found

    @abstractmethod
    def precisions(self, spec: ExportSpec) -> tuple[Precision, ...]:
        """What a spec comes in, the reference first."""

    @abstractmethod
    def describe(self, spec: ExportSpec, precision: Precision, networks: Networks) -> Description:
        """The description that goes into the file and the manifest."""

    @abstractmethod
    def candidates(
        self,
        spec: ExportSpec,
        module: nn.Module,
        networks: Networks,
        wanted: tuple[Precision, ...],
        folder: Path,
    ) -> Iterator[Candidate]:
        """Write a spec into ``folder``, in every precision that is both wanted and declared.

        Raises:
            ExportError: it could not be traced or converted.
        """

    @abstractmethod
    def judge(self, verifier: Verifier) -> Judge:
        """What judges artifacts of the verifier's spec, with all that they have in common."""

    @abstractmethod
    def sha256(self, path: Path) -> str:
        """The hash of an artifact; raises OSError."""

    @abstractmethod
    def size_bytes(self, path: Path) -> int:
        """Its size on disk; raises OSError."""

    @abstractmethod
    def ops(self, path: Path) -> dict[str, int]:
        """Its operations by type, most frequent first; raises ArtifactError for a damaged one."""

    @abstractmethod
    def verified_on(self) -> str:
        """Where ``judge`` runs artifacts."""


def described(spec: ExportSpec, precision: Precision, networks: Networks) -> Description:
    """What holds for a spec in every format."""
    provenances = [(network, networks.provenance(network)) for network in spec.requires]
    return Description(
        name=spec.name,
        precision=precision,
        inputs=spec.inputs,
        outputs=spec.outputs,
        minimums=dict(spec.minimums),
        recipe=spec.recipe(networks),
        checkpoints=tuple(
            {
                "network": network,
                "name": provenance.name,
                "origin": provenance.origin,
                "licence": provenance.licence,
                "sha256": provenance.sha256,
            }
            for network, provenance in provenances
        ),
        voxport_version=version("voxport"),
    )
