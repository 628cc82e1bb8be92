"""An ensemble is walked as Triton walks it: tensor by tensor, and with the artifacts themselves.

Source of the rules: ``ensemble_utils.cc`` of Triton's core.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np

from ...runtime.inputs import Arrays
from ...runtime.manifest import ArtifactRow
from ...runtime.onnx_session import OnnxSession
from ...runtime.session import Session
from ...runtime.synthetic import example_inputs
from ..errors import ExportError
from ..verification.limits import ARTIFACT
from ..verification.measures import changed_share, relative_max_abs
from .check import check_arrays, check_call, fits, full_dims
from .ensemble import Ensemble
from .messages import parsed

# On the CPU nothing differs, in any precision; other processors may round in another order.
_MAX_EMBEDDING_ERROR = ARTIFACT["fp32"]["embeddings"]["relative_max_abs"]
Tensors = dict[str, tuple[int, tuple[int, ...]]]
Read = Callable[[ArtifactRow], bytes]


def check_ensemble(
    text: str, configs: Mapping[str, Any], ensemble: Ensemble, read: Read, source: str
) -> None:
    """Check an ensemble's ``config.pbtxt``: its tensors, then its answers.

    Args:
        text: the configuration.
        configs: those of all models, by name.
        ensemble: what it should be.
        read: gives the bytes of an artifact.
        source: names the configuration in errors.

    Raises:
        ExportError: the text is no configuration, a tensor is missing, made twice, of another
            type or shape, or the answers are not those of ``diarization_window``.
        ArtifactError: an artifact cannot be loaded.
    """
    config = parsed(text, source)
    _check_tensors(config, configs, source)
    found, expected = (
        [step.model_name for step in config.ensemble_scheduling.step],
        [step.model for step in ensemble.steps],
    )
    if found != expected:
        raise ExportError(f"{source}: its steps are {found}, not {expected}")
    rows = {row.path: row for row in (*(step.row for step in ensemble.steps), ensemble.fused)}
    with ExitStack() as stack:
        sessions = {
            path: stack.enter_context(OnnxSession(read(row), path)) for path, row in rows.items()
        }
        by_model = {step.model: sessions[step.row.path] for step in ensemble.steps}
        fused = sessions[ensemble.fused.path]
        for size in (1, 2):
            inputs = example_inputs(ensemble.description, size)
            outputs = _answers(config, configs, by_model, inputs, source)
            _check_answers(outputs, fused.run(**inputs), source)


def _check_tensors(config: Any, configs: Mapping[str, Any], source: str) -> None:
    known: Tensors = {
        tensor.name: (tensor.data_type, full_dims(config, tensor)) for tensor in config.input
    }
    for step in config.ensemble_scheduling.step:
        model = configs.get(step.model_name)
        if model is None:
            raise ExportError(f"{source}: there is no model {step.model_name!r} for its step")
        # Whole batches, as they are, also go through models that share none.
        if model.max_batch_size and model.max_batch_size < config.max_batch_size:
            raise ExportError(
                f"{source}: batches of {config.max_batch_size} are more than {step.model_name} "
                f"takes, which is {model.max_batch_size}"
            )
        _check_step(step, model, known, source)
    for tensor in config.output:
        _check_same(known, tensor.name, tensor.data_type, full_dims(config, tensor), source)


def _check_step(step: Any, model: Any, known: Tensors, source: str) -> None:
    """All inputs come from known tensors; outputs become known."""
    inputs = {tensor.name: tensor for tensor in model.input}
    outputs = {tensor.name: tensor for tensor in model.output}
    if set(step.input_map) != set(inputs) or not set(step.output_map) <= set(outputs):
        raise ExportError(
            f"{source}: {step.model_name} has {sorted(inputs)} -> {sorted(outputs)}, but "
            f"{sorted(step.input_map)} -> {sorted(step.output_map)} are mapped"
        )
    for name, tensor in inputs.items():
        _check_same(known, step.input_map[name], tensor.data_type, full_dims(model, tensor), source)
    for name, made in step.output_map.items():
        if made in known:
            raise ExportError(f"{source}: {step.model_name} makes {made!r}, which is there already")
        known[made] = outputs[name].data_type, full_dims(model, outputs[name])


def _check_same(known: Tensors, name: str, kind: int, dims: tuple[int, ...], source: str) -> None:
    if name not in known:
        raise ExportError(f"{source}: nothing makes the tensor {name!r} before it is needed")
    if known[name][0] != kind or not fits(known[name][1], dims):
        raise ExportError(
            f"{source}: {name} is of type {known[name][0]} {list(known[name][1])} where it is "
            f"made, and {kind} {list(dims)} where it is taken"
        )


def _answers(
    config: Any,
    configs: Mapping[str, Any],
    sessions: Mapping[str, Session],
    inputs: Arrays,
    source: str,
) -> Arrays:
    """Step by step, as configured."""
    check_arrays(config, config.input, inputs, source)
    tensors = dict(inputs)
    for step in config.ensemble_scheduling.step:
        taken = {name: tensors[made] for name, made in step.input_map.items()}
        outputs = check_call(configs[step.model_name], sessions[step.model_name], taken, source)
        tensors |= {made: outputs[name] for name, made in step.output_map.items()}
    answers = {tensor.name: tensors[tensor.name] for tensor in config.output}
    check_arrays(config, config.output, answers, source)
    return answers


def _check_answers(answers: Arrays, fused: Arrays, source: str) -> None:
    """Against the artifact that does it all in one call."""
    masks = changed_share(fused["masks"], answers["masks"])
    error = relative_max_abs(fused["embeddings"], answers["embeddings"])
    if masks or not error <= _MAX_EMBEDDING_ERROR or not np.isfinite(answers["embeddings"]).all():
        raise ExportError(
            f"{source}: its answers are not those of diarization_window: {masks:.2%} of the masks "
            f"and embeddings by {error:.2g} (limit {_MAX_EMBEDDING_ERROR:g})"
        )
