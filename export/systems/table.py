"""The specs of all systems."""

from __future__ import annotations

from ..configuration import Configurations
from ..networks import Networks
from ..specs import ExportSpec
from .highlights import highlights_specs
from .mel_matrix import NAME as MEL_MATRIX
from .mel_matrix import mel_matrix_spec
from .vggish import vggish_specs


def system_specs(networks: Networks, configurations: Configurations) -> list[ExportSpec]:
    """What an export makes beside the diarization's graphs.

    Args:
        networks: what others of them are made of.
        configurations: by artifact, as ``configured`` gives them.
    """
    return [
        mel_matrix_spec(configurations[MEL_MATRIX]),
        *vggish_specs(networks, configurations),
        *highlights_specs(configurations["highlights"]),
    ]
