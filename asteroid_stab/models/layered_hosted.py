"""A hosted net with the estimates of every layer, by its own end or by mask heads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from asteroid_stab.errors import StabError
from asteroid_stab.models.hosted import HostedModel
from asteroid_stab.models.layer_calls import in_turn, recorded_calls, replaced_calls, zeros_of
from asteroid_stab.models.layer_mask_heads import LayerMaskHeads
from asteroid_stab.models.weight_names import without_layer_heads


class LayeredHostedModel(HostedModel):
    """A hosted net whose training mode returns ``[K, B, J, T]``: the estimates of each of its K layers.

    A layer is a call of a named module; a module that the net calls several times is as many layers. The last estimates
    are the plain net's, and the evaluation mode returns only these. The others come from one of:

    - **the net's own end** (``layer_heads`` is None): the net is run again as if it ended after the layer. Where its
      layers are a *chain* (each is fed with what the one before returned), all of them return this layer's output;
      where their outputs are *added* to a state (``x = x + block(x)``, and sums of skip connections), the layers up to
      this one return what they returned, and the others zeros. Which of the two a net has is found on noise when the
      layers are named. The net's front and end are computed K times, its layers once; statistics that front or end keep
      (batch normalisation) are updated in each of these runs.
    - **mask heads** (:class:`~asteroid_stab.models.layer_mask_heads.LayerMaskHeads`), for any other net.

    Either way, estimates of layers before the last keep nothing for the gradient and are computed again in the backward
    pass, one layer at a time.

    It is made by :func:`~asteroid_stab.models.layered_model`.
    """

    HOST = HostedModel
    call_names: tuple[str, ...]
    layer_heads: LayerMaskHeads | None
    added: bool = False
    train_early: bool = True

    @property
    def n_layers(self) -> int:
        """K, the number of layers whose estimates the training mode returns."""
        return len(self.call_names)

    def watch_early(self) -> None:
        """Cuts the gradient of the estimates of all layers but the last, which are only watched from now on."""
        self.train_early = False
        if self.layer_heads is not None:
            self.layer_heads.requires_grad_(False)

    def forward(self, wav: Tensor) -> Tensor:
        """Returns the estimates of mixtures ``[B, T]``: ``[K, B, J, T]`` in training mode, else ``[B, J, T]``.

        Raises:
            StabError: the net calls its layers in another order or number than on the noise on which they were found.
        """
        if not self.training:
            return super().forward(wav)
        with recorded_calls(self.net, self._names) as calls:
            last = super().forward(wav)
        if (order := tuple(name for name, _ in calls)) != self.call_names:
            raise StabError(
                f"the layers of {self.target} must be called in one order: {len(self.call_names)} calls, "
                f"{', '.join(self.call_names[:4])}, ...; got {len(order)} calls, {', '.join(order[:4])}, ..."
            )
        outputs = [output for _, output in calls]
        made = [partial(self._estimates, outputs, k) for k in range(self.n_layers - 1)]
        if self.train_early:
            early = [checkpoint(estimates, wav, use_reentrant=False) for estimates in made]
        else:
            with torch.no_grad():
                early = [estimates(wav) for estimates in made]
        return torch.stack([*early, last])

    def _estimates(self, outputs: Sequence[Any], k: int, wav: Tensor) -> Tensor:
        """Estimates ``[B, J, T]`` of layer ``k``, counted from 0."""
        if self.layer_heads is not None:
            return self.layer_heads(outputs[k], wav, k)
        return self.through_end(outputs, k, wav)

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.call_names))

    def through_end(self, outputs: Sequence[Any], k: int, wav: Tensor) -> Tensor:
        """Returns the estimates ``[B, J, T]`` of the net as if it ended after a layer.

        Args:
            outputs: what the layers returned, in the order of their calls.
            k: the layer, counted from 0.
            wav: the mixtures.
        """
        give: Callable[..., Any] = lambda *_: outputs[k]  # noqa: E731
        if self.added:
            kept = [output if i <= k else zeros_of(output) for i, output in enumerate(outputs)]
            give = in_turn([*zip(self.call_names, kept, strict=True)])
        with replaced_calls(self.net, self._names, give):
            return super().forward(wav)

    def serialize(self) -> dict[str, Any]:
        """Returns the plain model: its name, its arguments, its weights."""
        conf = super().serialize()
        return {**conf, "model_name": HostedModel.__name__, "state_dict": without_layer_heads(conf["state_dict"])}
