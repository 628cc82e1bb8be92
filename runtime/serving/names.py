"""What artifacts are called on a server: agreed between the export of repositories and clients."""

from __future__ import annotations

from ..manifest import METADATA_KEY

# Keys of a model's ``parameters`` in its configuration: the description of the artifact, as JSON,
# and the SHA-256 of the file that was verified.
DESCRIPTION_PARAMETER = METADATA_KEY
SHA256_PARAMETER = f"{METADATA_KEY}_sha256"


def model_name(name: str, precision: str) -> str:
    """The name of a model: ``segmentation_masks``, and ``segmentation_masks_fp16`` beside it."""
    return name if precision == "fp32" else f"{name}_{precision}"
