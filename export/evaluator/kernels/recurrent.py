"""LSTM.

Core ML orders the gates input, forget, output, cell; torch orders them input, forget, cell,
output. Biases of input and state are one vector in Core ML.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .registry import kernel


def _torch_order(rows: Tensor) -> Tensor:
    """(4H, ...) in torch's order of gates."""
    entry, forget, exit_, cell = rows.chunk(4)
    return torch.cat((entry, forget, cell, exit_))


def _one_direction(weight_ih: Tensor, weight_hh: Tensor, bias: Tensor | None) -> list[Tensor]:
    hidden = weight_hh.shape[1]
    if weight_hh.shape[0] != 4 * hidden or weight_ih.shape[0] != 4 * hidden:
        raise ValueError(f"weights {tuple(weight_ih.shape)}, {tuple(weight_hh.shape)}: not (4H, H)")
    bias = weight_ih.new_zeros(4 * hidden) if bias is None else bias
    return [*(_torch_order(each) for each in (weight_ih, weight_hh, bias)), torch.zeros_like(bias)]


def _by_direction(state: Tensor, directions: int) -> Tensor:
    """(B, directions * H) -> (directions, B, H)"""
    return state.reshape(state.shape[0], directions, -1).transpose(0, 1).contiguous()


def _side_by_side(state: Tensor) -> Tensor:
    """(directions, B, H) -> (B, directions * H)"""
    return state.transpose(0, 1).flatten(1)


_FORWARD = ("x", "initial_h", "initial_c", "weight_ih", "weight_hh", "bias")
_BACKWARD = ("weight_ih_back", "weight_hh_back", "bias_back")


@kernel("lstm", agree=(*_FORWARD, *_BACKWARD))
def lstm(  # noqa: PLR0913, PLR0917 -- the inputs of the op
    x: Tensor,
    initial_h: Tensor,
    initial_c: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None = None,
    weight_ih_back: Tensor | None = None,
    weight_hh_back: Tensor | None = None,
    bias_back: Tensor | None = None,
    direction: str = "forward",
    output_sequence: bool = False,
    recurrent_activation: str = "sigmoid",
    cell_activation: str = "tanh",
    activation: str = "tanh",
) -> tuple[Tensor, Tensor, Tensor]:
    """x (T, B, I) -> (T or 1, B, directions * H) and the last h and c (B, directions * H).

    Peepholes, clipping and other activations are not supported: no graph here has them.
    """
    if (recurrent_activation, cell_activation, activation) != ("sigmoid", "tanh", "tanh"):
        raise ValueError("activations other than sigmoid, tanh and tanh are not supported")
    if direction not in ("forward", "reverse", "bidirectional"):
        raise ValueError(f"unknown direction {direction!r}")
    parameters = _one_direction(weight_ih, weight_hh, bias)
    is_both = direction == "bidirectional"
    if is_both:
        if weight_ih_back is None or weight_hh_back is None:
            raise ValueError("a bidirectional LSTM needs weights for both directions")
        parameters += _one_direction(weight_ih_back, weight_hh_back, bias_back)
    states = [_by_direction(state, 1 + is_both) for state in (initial_h, initial_c)]
    ordered = x.flip(0) if direction == "reverse" else x
    outputs, last_h, last_c = torch.lstm(
        ordered, states, parameters, True, 1, 0.0, False, is_both, False
    )
    last_h, last_c = _side_by_side(last_h), _side_by_side(last_c)
    if not output_sequence:
        return last_h.unsqueeze(0), last_h, last_c
    return outputs.flip(0) if direction == "reverse" else outputs, last_h, last_c
