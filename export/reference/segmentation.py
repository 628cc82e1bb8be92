"""pyannote.audio's PyanNet: filters built on the fly, layer after layer, in float64."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

State = Mapping[str, Tensor]


def segmentation_log_probs(
    state: State, waveform: Tensor, *, sinc_stride: int, sample_rate_hz: int
) -> Tensor:
    """(B, 1, N) -> (B, F, classes) log-probabilities, in the waveform's dtype."""
    weights = {name: value.to(waveform.dtype) for name, value in state.items()}
    x = _instance_norm(waveform, weights, "sincnet.wav_norm1d")
    x = functional.conv1d(x, _band_pass_filters(weights, sample_rate_hz), stride=sinc_stride)
    x = _pool_norm(x.abs(), weights, 0)
    for layer in (1, 2):
        name = f"sincnet.conv1d.{layer}"
        x = functional.conv1d(x, weights[f"{name}.weight"], weights[f"{name}.bias"])
        x = _pool_norm(x, weights, layer)
    x = _lstm(x.transpose(1, 2), weights)
    index = 0
    while f"linear.{index}.weight" in weights:
        name = f"linear.{index}"
        x = functional.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])
        x = functional.leaky_relu(x)
        index += 1
    scores = functional.linear(x, weights["classifier.weight"], weights["classifier.bias"])
    return functional.log_softmax(scores, dim=-1)


def _instance_norm(x: Tensor, weights: State, name: str) -> Tensor:
    mean = x.mean(dim=-1, keepdim=True)
    variance = x.var(dim=-1, keepdim=True, correction=0)
    scale, shift = weights[f"{name}.weight"], weights[f"{name}.bias"]
    return (x - mean) / torch.sqrt(variance + 1e-5) * scale[:, None] + shift[:, None]


def _pool_norm(x: Tensor, weights: State, layer: int) -> Tensor:
    pooled = functional.max_pool1d(x, 3, stride=3)
    return functional.leaky_relu(_instance_norm(pooled, weights, f"sincnet.norm1d.{layer}"))


def _band_pass_filters(weights: State, sample_rate_hz: int) -> Tensor:
    """One filter after the other, each the difference of two low-pass filters."""
    prefix = "sincnet.conv1d.0.filterbank."
    times, window = weights[prefix + "n_"][0], weights[prefix + "window_"]
    rows: dict[str, list[Tensor]] = {"cos": [], "sin": []}
    bands = zip(weights[prefix + "low_hz_"], weights[prefix + "band_hz_"], strict=True)
    for low_hz, band_hz in bands:
        low = 50.0 + low_hz.abs()
        high = torch.clamp(low + 50.0 + band_hz.abs(), 50.0, sample_rate_hz / 2)
        band = high - low
        even = 2 * (torch.sin(high * times) - torch.sin(low * times)) / times * window
        odd = 2 * (torch.cos(low * times) - torch.cos(high * times)) / times * window
        rows["cos"].append(torch.cat([even, 2 * band, even.flip(0)]) / (2 * band))
        rows["sin"].append(torch.cat([odd, 0 * band, -odd.flip(0)]) / (2 * band))
    return torch.stack(rows["cos"] + rows["sin"]).unsqueeze(1)


def _lstm(x: Tensor, weights: State) -> Tensor:
    """The stacked LSTM through PyTorch's own kernel, layer by layer and both directions."""
    layer = 0
    while f"lstm.weight_ih_l{layer}" in weights:
        directions = [""] + (["_reverse"] if f"lstm.weight_ih_l{layer}_reverse" in weights else [])
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        flat = [weights[f"lstm.{n}_l{layer}{d}"] for d in directions for n in names]
        hidden = weights[f"lstm.weight_hh_l{layer}"].shape[1]
        zeros = x.new_zeros(len(directions), x.shape[0], hidden)
        bidirectional = len(directions) == 2
        x = torch.lstm(x, (zeros, zeros), flat, True, 1, 0.0, False, bidirectional, True)[0]
        layer += 1
    return x
