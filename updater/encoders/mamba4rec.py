"""Mamba4Rec (arXiv 2403.03900, section 3): selective state spaces over a user's events, in plain PyTorch."""

# E channels (twice W), S numbers of a channel's state, R rank of the step sizes

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, silu, softplus

from updater.encoders.config import EncoderConfig

EXPANSION, KERNEL, FEED_FORWARD = 2, 4, 4
"""Channels for each number of a state; events that the convolution sees; width of the feed-forward layer in states."""
SMALLEST_STEP, LARGEST_STEP = 1e-3, 0.1
"""Initial step sizes, of which a state's memory is about the inverse in events (arXiv 2312.00752, section 3.6)."""


class Mamba4Rec(nn.Module):
    """Layers of a selective state space and a feed-forward layer, each normalized after its residual (section 3.4)."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.layers))

    def forward(self, events_BLW: Tensor, seconds_BL: Tensor) -> Tensor:
        """States, shape (B, L, W); times are not used."""
        for layer in self.layers:
            events_BLW = layer(events_BLW)
        return events_BLW


class _Layer(nn.Module):
    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        width = config.width
        self.space = SelectiveStateSpace(width, config.state_size)
        self.inner, self.outer = nn.Linear(width, FEED_FORWARD * width), nn.Linear(FEED_FORWARD * width, width)
        self.space_norm, self.forward_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, states_BLW: Tensor) -> Tensor:
        states_BLW = self.space_norm(states_BLW + self.dropout(self.space(states_BLW)))
        fed_BLW = self.outer(self.dropout(gelu(self.inner(states_BLW))))
        normalized: Tensor = self.forward_norm(states_BLW + self.dropout(fed_BLW))
        return normalized


class SelectiveStateSpace(nn.Module):
    """Mamba's block (arXiv 2312.00752, section 3.4): a gated state space whose steps, inputs and outputs the events
    choose.
    """

    def __init__(self, width: int, state_size: int) -> None:
        super().__init__()
        channels = EXPANSION * width
        self.sizes = [-(-width // 16), state_size, state_size]
        self.into = nn.Linear(width, 2 * channels, bias=False)
        self.convolution = nn.Conv1d(channels, channels, KERNEL, groups=channels, padding=KERNEL - 1)
        self.selection = nn.Linear(channels, sum(self.sizes), bias=False)
        self.step = nn.Linear(self.sizes[0], channels)
        self.log_rates_ES = nn.Parameter(torch.arange(1.0, state_size + 1).log().repeat(channels, 1))
        self.skip_E = nn.Parameter(torch.ones(channels))
        self.out = nn.Linear(channels, width, bias=False)
        with torch.no_grad():
            steps = torch.empty(channels).uniform_(SMALLEST_STEP, LARGEST_STEP)
            # The inverse of the softplus that follows.
            self.step.bias.copy_(steps + torch.log(-torch.expm1(-steps)))

    def forward(self, events_BLW: Tensor) -> Tensor:
        """What the states say at each event, shape (B, L, W)."""
        length = events_BLW.shape[1]
        values_BLE, gates_BLE = self.into(events_BLW).chunk(2, -1)
        values_BLE = silu(self.convolution(values_BLE.transpose(1, 2))[..., :length].transpose(1, 2))
        ranks_BLR, inputs_BLS, outputs_BLS = self.selection(values_BLE).split(self.sizes, -1)
        steps_BLE = softplus(self.step(ranks_BLR))
        read_BLE = selective_scan(values_BLE, steps_BLE, -self.log_rates_ES.exp(), inputs_BLS, outputs_BLS)
        read: Tensor = self.out((read_BLE + self.skip_E * values_BLE) * silu(gates_BLE))
        return read


def selective_scan(
    values_BLE: Tensor, steps_BLE: Tensor, rates_ES: Tensor, inputs_BLS: Tensor, outputs_BLS: Tensor
) -> Tensor:
    """h_t = exp(step_t * rate) h_(t-1) + step_t input_t value_t, read off as output_t h_t; shape (B, L, E)."""
    kept_BLES = torch.exp(steps_BLE[..., None] * rates_ES)
    added_BLES = (steps_BLE * values_BLE)[..., None] * inputs_BLS[:, :, None]
    state_BES = torch.zeros_like(added_BLES[:, 0])
    states = []
    for kept_BES, added_BES in zip(kept_BLES.unbind(1), added_BLES.unbind(1), strict=True):
        state_BES = torch.addcmul(added_BES, kept_BES, state_BES)
        states.append(state_BES)
    return torch.einsum("bles,bls->ble", torch.stack(states, 1), outputs_BLS)
