"""Any separator as a model of this package: a module that is no Asteroid model, hosted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from asteroid import models
from asteroid.models import BaseModel
from pytorch_lightning.utilities.seed import isolate_rng
from torch import Tensor, nn

from asteroid_stab.errors import StabError, cause, nearest
from asteroid_stab.microphones import reference
from asteroid_stab.models.hosted_outputs import EstimateReader, check_choice
from asteroid_stab.models.targets import TARGET, build_target, check_extent, plain_values
from asteroid_stab.trust import check_stored, imported, targets, trusted_names, trusting

INPUTS = {"time": "[B, T]", "channel_time": "[B, C, T]", "time_lengths": "[B, T] and lengths [B]"}
"""What a hosted net may take, by name."""
_SOURCE = "a hosted model"


class HostedModel(BaseModel):
    """A net of somebody else, with the interface and the files of an Asteroid model.

    Its file keeps the name of the net's class, its arguments and its weights in plain types. The constructor imports
    and builds that class, so it builds only what :func:`asteroid_stab.trust.check_stored` admits: torch's, Asteroid's
    and this package's modules, and what the user trusts. :func:`hosted` trusts what its caller names.

    Estimates that are a few samples shorter or longer than the mixture, as strides leave them, are padded with zeros
    or cut at their end, as Asteroid's models do; a larger difference is an error.

    Args:
        target: dotted name of the net's class, a ``torch.nn.Module``.
        args: its arguments by name, in plain values; an object among them is written as ``{_target_: class, ...}``.
        n_src: J, the number of sources.
        sample_rate: in Hz.
        inputs: a key of :data:`INPUTS`; the lengths are all T, in samples.
        outputs: a key of :data:`~asteroid_stab.models.hosted_outputs.OUTPUTS`; or ``{_target_: function, _partial_:
            true}``, which maps the net's output to ``[B, J, T]``.
        output_key: where the net's output is a dict or a tuple: the key or the position of the estimates in it.
        output_layers: names within the net of the layers that compute the sources' channels, which
            ``init.new_output`` leaves new.
        keep: positions of the sources among the net's outputs; None: it has no others.
        n_mics: C, the number of microphones that the net takes, the reference first; None: any number. All but 1 need
            ``inputs="channel_time"``.

    Shapes:
        - input ``[B, T]`` or ``[T]``, or ``[B, C, T]``; output ``[B, J, T]``, of ``[T]`` ``[J, T]``.

    Raises:
        StabError: a name is not trusted, cannot be imported or is no module's; the net refuses its arguments; an
            argument is out of its range; or (``forward``) the net's output is not what ``outputs`` names.
    """

    def __init__(
        self,
        target: str,
        args: Mapping[str, Any] | None,
        n_src: int,
        sample_rate: float,
        inputs: str = "time",
        outputs: str | Mapping[str, Any] = "sources_time",
        output_key: str | int | None = None,
        output_layers: Sequence[str] = (),
        keep: Sequence[int] | None = None,
        n_mics: int | None = 1,
    ):
        super().__init__(sample_rate, in_channels=n_mics)
        self.target, self.inputs = target, inputs
        check_extent([args, outputs], _SOURCE)
        self.args: dict[str, Any] = plain_values({**(args or {})}, "args")
        check_choice("inputs", inputs, INPUTS)
        if n_mics is not None and (isinstance(n_mics, bool) or not isinstance(n_mics, int) or n_mics < 1):
            raise StabError(f"n_mics must be a whole number of at least 1, or null for any number, got {n_mics!r}")
        if n_mics != 1 and inputs != "channel_time":
            raise StabError(f"n_mics={n_mics} needs inputs='channel_time', {INPUTS['channel_time']}, got {inputs!r}")
        if isinstance(sample_rate, bool) or not isinstance(sample_rate, (int, float)) or not sample_rate > 0:
            raise StabError(f"sample_rate must be a number above 0, in Hz, got {sample_rate!r}")
        if isinstance(output_layers, str):
            raise StabError(f"output_layers must be a list of names, got {output_layers!r}")
        self._reader = EstimateReader(target, outputs, output_key, n_src, keep)
        node = {**self.args, TARGET: target}
        check_net({"target": target, "args": self.args, "outputs": self._reader.outputs}, _SOURCE)
        if not isinstance(found := imported(target, _SOURCE), type) or not issubclass(found, nn.Module):
            raise StabError(f"{target} must be a class of torch.nn.Module, got a {type(found).__name__}")
        try:
            self.net = build_target(node, _SOURCE)
        except StabError:
            raise
        except Exception as error:  # a constructor checks some of its arguments, and trips over the others
            raise StabError(f"{target} cannot be built with these arguments: {cause(error)}") from error
        if not isinstance(self.net, nn.Module):  # _partial_
            raise StabError(f"{target} must be built whole, got a {type(self.net).__name__}")
        self._reader.build(_SOURCE)
        known = [name for name, _ in self.net.named_modules() if name]
        for name in output_layers:
            if name not in known:
                raise StabError(
                    f"output_layers must be layers of {target}, which has no {name!r}{nearest(name, known)}"
                )
        self.output_layers = tuple(f"net.{name}" for name in output_layers)

    @property
    def n_src(self) -> int:
        """J, the number of sources."""
        return self._reader.n_src

    # --- separation ---

    def forward(self, wav: Tensor) -> Tensor:
        """Returns the estimates of mixtures."""
        mixture = wav.unsqueeze(0) if wav.ndim == 1 else wav
        mixture = mixture.squeeze(1) if mixture.ndim == 3 and mixture.shape[1] == 1 else mixture
        n_mics = mixture.shape[1] if mixture.ndim == 3 else 1
        if mixture.ndim not in (2, 3) or self.in_channels not in (None, n_mics):
            wanted = "[B, T], [B, 1, T] or [T]" if self.in_channels == 1 else f"[B, {self.in_channels or 'C'}, T]"
            raise ValueError(f"this hosted model takes {wanted}, got {list(wav.shape)}")
        est = self._reader.read(self.raw(mixture), reference(mixture))
        return est.squeeze(0) if wav.ndim == 1 else est

    def raw(self, mixture: Tensor) -> Any:
        """Returns the net's own output for mixtures ``[B, T]`` or ``[B, C, T]``."""
        if self.inputs == "channel_time":
            return self.net(mixture.unsqueeze(1) if mixture.ndim == 2 else mixture)
        if self.inputs == "time_lengths":
            lengths = torch.full((mixture.shape[0],), mixture.shape[-1], dtype=torch.long, device=mixture.device)
            return self.net(mixture, lengths)
        return self.net(mixture)

    # --- files ---

    def get_model_args(self) -> dict[str, Any]:
        """The constructor's arguments that build this model again."""
        return {
            "target": self.target,
            "args": self.args,
            "n_src": self.n_src,
            "sample_rate": self.sample_rate,
            "inputs": self.inputs,
            "outputs": self._reader.outputs,
            "output_key": self._reader.key,
            "output_layers": [name.removeprefix("net.") for name in self.output_layers],
            "keep": self._reader.keep,
            "n_mics": self.in_channels,
        }

    def with_outputs(self, outputs: Sequence[int]) -> HostedModel:
        """A copy, in evaluation mode, that returns only some of the estimates, in this order; its net computes all.

        It is built, not copied: a net that was trained may hold tensors that Python cannot copy.
        """
        args = self.get_model_args()
        keep = [i if args["keep"] is None else args["keep"][i] for i in outputs]
        named = [name for _, name in targets([{TARGET: self.target, **self.args}, self._reader.outputs])]
        with trusting(named), isolate_rng(include_cuda=False):  # a training must draw the same numbers without this
            model = HostedModel(**{**args, "n_src": len(keep), "keep": keep})
        model.load_state_dict(self.serialize()["state_dict"])
        first = next(self.parameters(), None)
        return model.to("cpu" if first is None else first.device).eval()


def check_net(arguments: Mapping[str, Any], source: str) -> None:
    """Checks, before anything is imported, that the arguments of a hosted model name only what may be built.

    Args:
        arguments: of :class:`HostedModel`; they may come from anybody.
        source: what names the classes, for messages.

    Raises:
        StabError: they name something else.
    """
    check_extent(arguments, source)
    net = {"args": arguments.get("args"), TARGET: arguments.get("target")}
    for at, part in (("net", net), ("outputs", arguments.get("outputs"))):
        check_stored(part, at, source, trusted_names(), modules_only=True)


def hosted(
    net: type[nn.Module] | Mapping[str, Any],
    args: Mapping[str, Any] | None = None,
    *,
    n_src: int,
    sample_rate: float,
    inputs: str = "time",
    outputs: str | Mapping[str, Any] = "sources_time",
    output_key: str | int | None = None,
    output_layers: Sequence[str] = (),
    n_mics: int | None = 1,
) -> HostedModel:
    """Hosts a net, see :class:`HostedModel`; the classes that the caller names are trusted.

    Args:
        net: its class, with ``args``; or ``{_target_: class, ...}`` with all arguments, as in a config.
        args: its arguments by name, in plain values.
        n_src: number of sources.
        sample_rate: in Hz.
        inputs: as of ``HostedModel``.
        outputs: as of ``HostedModel``.
        output_key: as of ``HostedModel``.
        output_layers: as of ``HostedModel``.
        n_mics: as of ``HostedModel``.

    Raises:
        StabError: as ``HostedModel``; or the class has no name by which another program can import it.

    Example:
        >>> model = hosted(nn.Conv1d, {"in_channels": 1, "out_channels": 3, "kernel_size": 5},
        ...                n_src=3, sample_rate=8000, inputs="channel_time")
        >>> model(torch.randn(2, 800)).shape  # the net gives [2, 3, 796]
        torch.Size([2, 3, 800])
    """
    if isinstance(net, type):
        target, given = f"{net.__module__}.{net.__qualname__}", {**(args or {})}
        if net.__module__ == "__main__" or imported(target, _SOURCE) is not net:
            raise StabError(f"{target} must be importable by this name, for its files to be read: move it to a module")
    elif isinstance(net, Mapping) and isinstance(net.get(TARGET), str) and not args:
        target, given = net[TARGET], {key: value for key, value in net.items() if key != TARGET}
    else:
        raise StabError(f"net must be a class, or {{{TARGET}: its name, and its arguments}}, got {str(net)[:80]}")
    named = [name for _, name in targets([{**given, TARGET: target}, outputs]) if isinstance(name, str)]
    with trusting(named):
        return HostedModel(target, given, n_src, sample_rate, inputs, outputs, output_key, output_layers, n_mics=n_mics)


if not hasattr(models, "HostedModel"):  # a reloaded module does not register twice
    models.register_model(HostedModel)
