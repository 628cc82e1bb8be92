"""One stream: from samples at the networks' rate to decided frames, step by step."""

from __future__ import annotations

import numpy as np

from ..audio_source import FloatArray
from ..stages import AhcOptions, Turn, round_s, rounded, within
from ..windows import WindowPlan
from .deciding import Decision, OpenTurns, decide
from .incoming import HeldAudio
from .memory import SpeakerMemory
from .networks import HeardWindow, WindowNetworks
from .settings import StreamingSettings

# Memory has fewer embeddings to be sure by than a whole recording.
_THRESHOLD_SCALE = 1.02


class StreamEngine:
    """The state of one stream: a window of audio, the windows that may still change, voices.

    Windows begin at multiples of the step, as offline. Until one is full, they begin before the
    audio, with silence; what those say does not count any more once there is a full one.
    """

    def __init__(self, networks: WindowNetworks, settings: StreamingSettings) -> None:
        self._networks, self._settings, self._grid = networks, settings, networks.grid
        rate_hz, window = self._grid.sample_rate_hz, self._grid.window_samples
        self._plan = WindowPlan(window, round(settings.step_s * rate_hz), 1)
        self._latency = round(settings.latency_s * rate_hz)
        threshold = settings.threshold
        if threshold is None:
            threshold = _THRESHOLD_SCALE * networks.threshold()
        options = AhcOptions(threshold, settings.min_cluster_size)
        self._memory = SpeakerMemory(settings.memory_size, options, settings.max_speakers)
        self._audio = HeldAudio()
        # The first window that ends after the audio begins.
        self._next_start = -((window - 1) // self._plan.step_samples) * self._plan.step_samples
        self._num_heard = 0
        self._windows: list[HeardWindow] = []
        self._decision = Decision(0, np.zeros((0, 0), np.bool_), np.zeros(0, np.int64))
        self._open = OpenTurns(self._grid)
        self._final: list[Turn] = []
        # Made when it is asked for, and not for every sample that is pushed.
        self._provisional: tuple[Turn, ...] | None = ()

    @property
    def final_until_s(self) -> float:
        """The middle of the first frame that is not final, rounded as turns are."""
        frame = self._decision.first_frame
        return round_s(self._open.time_s(frame)) if frame else 0.0

    def push(self, samples: FloatArray) -> None:
        """Take (n,) samples and do all steps that they complete.

        Raises:
            VoxportError: a network failed. The samples are kept: the next push, which may be
                empty, goes on where this one stopped.
        """
        self._audio.append(samples)
        before = self._num_heard
        try:
            while self._next_start + self._plan.window_samples <= self._audio.end:
                self._step()
                self._make_final(self._due_frame())
        finally:
            # Once for all steps: what is left of a long push is copied.
            if self._num_heard > before:
                self._audio.forget(self._next_start)

    def finish(self) -> None:
        """Do the last window, as offline: what remains, or all if it is short, and zeros.

        Raises:
            VoxportError: as ``push``; to be called again.
        """
        rest = self._plan.count(self._audio.end) * self._plan.step_samples
        if max(self._next_start, 0) < rest:
            self._next_start = max(self._next_start, 0)
            self._step()
        end_frame = self._decision.end_frame
        self._make_final(end_frame)
        duration_s = self._audio.end / self._grid.sample_rate_hz
        self._final += self._open.close(end_frame)
        # The padding of a last window belongs to nobody.
        self._final = within(self._final, duration_s)

    def take_final(self) -> tuple[Turn, ...]:
        """The turns that have ended since this was asked last."""
        taken, self._final = tuple(rounded(self._final)), []
        return taken

    def provisional(self) -> tuple[Turn, ...]:
        """The turns that go on or may change, up to the last frame heard."""
        if self._provisional is None:
            turns = self._open.copy()
            ended = turns.extend(self._decision)
            ended += turns.close(self._decision.end_frame)
            self._provisional = tuple(sorted(rounded(ended)))
        return self._provisional

    def _step(self) -> None:
        """Hear the next window, and decide all frames anew that are not final."""
        start, number = self._next_start, self._num_heard
        waveform = self._audio.window(start, self._plan.window_samples)
        heard = self._networks.hear(number, start, waveform)
        # From here on nothing fails: a step is done as a whole.
        first_full = not heard.is_padded and start < self._plan.step_samples
        self._windows = [*([] if first_full else self._windows), heard]
        self._memory.add(heard)
        labels = self._memory.label(self._windows)
        if first_full:
            # They were needed until now: labels go over from them to what replaces them.
            self._memory.forget(range(number))
        final_frame, most = self._decision.first_frame, self._settings.max_speakers
        self._decision = decide(self._windows, labels, final_frame, self._grid, most)
        self._next_start, self._num_heard = start + self._plan.step_samples, number + 1

    def _due_frame(self) -> int:
        """The first frame that may wait for the next step: its middle is late by then.

        In halves of samples, since that is where middles of frames lie.
        """
        heard = self._next_start + self._plan.window_samples
        due = 2 * (heard - self._latency) - self._grid.receptive_field_samples
        return -(-due // (2 * self._grid.hop_samples))

    def _make_final(self, frame: int) -> None:
        """Turns up to a frame go out; windows that end before it are not needed any more."""
        decision = self._decision
        frame = min(max(frame, decision.first_frame), decision.end_frame)
        self._final += self._open.extend(decision.part(decision.first_frame, frame))
        self._decision = decision.part(frame, decision.end_frame)
        self._provisional = None
        frames = self._grid.window_frames
        self._windows = [each for each in self._windows if each.first_frame + frames > frame]
