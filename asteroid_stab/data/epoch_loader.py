"""A loader that can go on within an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader

from asteroid_stab.errors import StabError
from asteroid_stab.run.epochs import shown_epoch


class EpochLoader(DataLoader):
    """A ``DataLoader`` over a sampler with epochs, whose state is the number of batches that it has given out.

    With that state it starts after these batches, without loading them: batch and crops of an item depend on seed and
    epoch alone. Lightning keeps the state in its checkpoints (``state_dict`` and ``load_state_dict`` are the names that
    it looks for); a loop of one's own may do the same.

    The sampler has ``epoch``, ``set_epoch`` and ``start_at``, see :class:`~asteroid_stab.data.sampler.EpochSampler`.

    Example:
        >>> from asteroid_stab.data.sampler import EpochSampler
        >>> items = {(0, i): 10 + i for i in range(4)}  # by epoch and id
        >>> loader = EpochLoader(items, batch_size=2, sampler=EpochSampler(4, 2, seed=0))
        >>> batches = iter(loader)
        >>> first, state, second = next(batches), loader.state_dict(), next(batches)
        >>> state
        {'epoch': 0, 'batch': 1, 'batch_size': 2, 'n_batches': 2}
        >>> loader.load_state_dict(state)
        >>> [batch.tolist() for batch in loader] == [second.tolist()]
        True
    """

    def __iter__(self) -> Any:
        sampler: Any = self.sampler
        epoch, fault = getattr(self, "_refused", (None, ""))
        if epoch == sampler.epoch:
            raise StabError(fault)
        self._epoch, self._n_given = sampler.epoch, sampler.first_batch
        return _Counted(self, super().__iter__())

    def state_dict(self) -> dict[str, int]:
        """Returns the epoch, how many batches of it were given out, and their size and number."""
        sampler: Any = self.sampler
        place = {"epoch": getattr(self, "_epoch", sampler.epoch), "batch": getattr(self, "_n_given", 0)}
        return place | self._sizes()

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Makes the epoch of the state start after the batches that were given out; other epochs are whole.

        Raises:
            StabError: (when this epoch is asked for) its batches had another size, or there were more or fewer.
        """
        epoch, own = state_dict["epoch"], self._sizes()
        sampler: Any = self.sampler
        differing = [name for name, value in own.items() if state_dict[name] != value]
        if differing:
            name = differing[0]
            fault = (
                f"the checkpoint was written within epoch {shown_epoch(epoch)} with {name}={state_dict[name]}, now it "
                f"is {own[name]}: go on with as many processes and the same loader.batch_size, or from a checkpoint of "
                "a whole epoch"
            )
            self._refused = (epoch, fault)
        else:
            sampler.start_at(epoch, state_dict["batch"])

    def _sizes(self) -> dict[str, int]:
        return {"batch_size": int(self.batch_size or 1), "n_batches": len(self)}


class _Counted:
    """Counts the batches that a loader gives out."""

    def __init__(self, loader: EpochLoader, batches: Iterator[Any]):
        self._loader, self._batches = loader, batches

    def __iter__(self) -> _Counted:
        return self

    def __next__(self) -> Any:
        batch = next(self._batches)
        self._loader._n_given += 1
        return batch
