"""How many speakers a recording is said to have."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from ..errors import OptionsError


@dataclass(frozen=True)
class SpeakerBounds:
    """What is known about the number of speakers; nothing by default.

    ``num_speakers`` overrides the two others, as in pyannote.audio.

    Raises:
        OptionsError: a number below 1, or ``min_speakers`` above ``max_speakers``.
    """

    num_speakers: int | None = None
    min_speakers: int | None = None
    max_speakers: int | None = None

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value is not None and value < 1:
                raise OptionsError(f"{name} must be at least 1, got {value}")
        if self.most is not None and self.least > self.most:
            raise OptionsError(
                f"min_speakers must be at most max_speakers, got {self.least} and {self.most}"
            )

    @property
    def least(self) -> int:
        """The smallest number allowed."""
        return self.num_speakers or self.min_speakers or 1

    @property
    def most(self) -> int | None:
        """The largest number allowed; None if there is none."""
        return self.num_speakers or self.max_speakers

    def nearest(self, found: int, available: int) -> int:
        """The number to take where ``found`` were found among ``available`` embeddings."""
        most = available if self.most is None else self.most
        return max(1, min(max(found, self.least), most, available))
