"""Heads that make estimates of the layers of any net: masks on a filterbank of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from asteroid.masknn.norms import GlobLN
from asteroid.utils.torch_utils import pad_x_to_y
from asteroid_filterbanks import make_enc_dec
from torch import Tensor, nn
from torch.nn.functional import interpolate

from asteroid_stab.errors import StabError
from asteroid_stab.microphones import reference
from asteroid_stab.models.layer_calls import first_tensor

N_FILTERS = 64
KERNEL_S = 0.002  # with a stride of half of it, as the host's ConvTasNet has at 8 kHz


class LayerMaskHeads(nn.Module):
    """Estimates of layers whose net cannot end after them (U-Nets, say): a mask head for each layer.

    A layer's output has an axis of items and an axis of time; all other axes together are features. A head normalises
    them, maps them to masks of the J sources (one convolution of length 1), stretches these to the frames of a learned
    filterbank, which all heads share, and decodes the masked mixture.

    The heads are trained with the model and saved in checkpoints, but not in model files.

    Args:
        shapes: of each layer's output, as :func:`time_axes` returns them: position of the axis of items, position of
            the axis of time, number of features.
        n_src: J, the number of sources.
        sample_rate: in Hz.

    Shapes:
        - a layer's output, from which the first tensor is taken, and mixtures ``[B, T]`` or ``[B, C, T]``; estimates
          ``[B, J, T]``.

    References:
        Our reading of "layer-wise" for nets whose own head cannot serve: the masks are those of ConvTasNet (Luo and
        Mesgarani, arXiv 1809.07454), on the features of the layer.
    """

    def __init__(self, shapes: Sequence[tuple[int, int, int]], n_src: int, sample_rate: float):
        super().__init__()
        kernel = max(2, 2 * round(KERNEL_S * sample_rate / 2))
        self.axes, self.n_src = [shape[:2] for shape in shapes], n_src
        self.encoder, self.decoder = make_enc_dec("free", N_FILTERS, kernel, stride=kernel // 2)
        self.mask_nets = nn.ModuleList(
            nn.Sequential(GlobLN(n_features), nn.Conv1d(n_features, n_src * N_FILTERS, 1))
            for _, _, n_features in shapes
        )

    def forward(self, output: Any, wav: Tensor, k: int) -> Tensor:
        """Returns the estimates ``[B, J, T]`` of layer ``k``'s output, counted from 0."""
        hidden = first_tensor(output)
        assert hidden is not None  # the layer gave one when its head was made
        items, time = self.axes[k]
        features = torch.movedim(hidden, (items, time), (0, -1)).flatten(1, -2) if hidden.ndim > 2 else hidden[:, None]
        heard = reference(wav)
        rep = torch.relu(self.encoder(heard.unsqueeze(1)))
        masks = interpolate(self.mask_nets[k](features), size=rep.shape[-1], mode="linear")
        masks = torch.sigmoid(masks).view(len(rep), self.n_src, N_FILTERS, -1)
        return pad_x_to_y(self.decoder(masks * rep.unsqueeze(1)), heard)


def time_axes(name: str, output: Any, more_items: Any, longer: Any) -> tuple[int, int, int]:
    """Returns the axis of items, the axis of time and the number of features of a layer's output.

    Args:
        name: of the layer, for messages.
        output: what it returns.
        more_items: what it returns for a larger batch.
        longer: what it returns for longer mixtures.

    Raises:
        StabError: not exactly one axis grows with the items, and one other with the time.
    """
    shapes = [
        list(tensor.shape) for value in (output, more_items, longer) if (tensor := first_tensor(value)) is not None
    ]
    if len(shapes) < 3:
        raise StabError(
            f"a mask head needs a layer that returns a tensor, and {name!r} returns {type(output).__name__}"
        )
    axes = range(len(shapes[0]))
    same = all(len(shape) == len(shapes[0]) for shape in shapes)
    items = [axis for axis in axes if same and shapes[1][axis] != shapes[0][axis]]
    time = [axis for axis in axes if same and shapes[2][axis] != shapes[0][axis]]
    if len(items) != 1 or len(time) != 1 or items == time:
        raise StabError(
            f"a mask head needs a layer whose output has one axis of items and one of time, and {name!r} gives "
            f"{shapes[0]}, for more mixtures {shapes[1]}, for longer ones {shapes[2]}: name another layer"
        )
    n_features = 1
    for axis in axes:
        n_features *= 1 if axis in (items[0], time[0]) else shapes[0][axis]
    return items[0], time[0], n_features
