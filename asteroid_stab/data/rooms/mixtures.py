"""Mixtures of any set of one microphone, put into rooms of a bank."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np

from asteroid_stab.data.dataset import MixtureDataset, crop_start
from asteroid_stab.data.rooms.bank import Responses, RoomBank
from asteroid_stab.data.rooms.geometry import SOUND_SPEED
from asteroid_stab.data.rooms.simulation import FILTER_LENGTH
from asteroid_stab.data.rooms.sound import heard, white_noise
from asteroid_stab.data.sampler import EpochSampler, TaskSampler
from asteroid_stab.errors import StabError

TARGETS = ("early", "image", "anechoic")
_EARLY_S = 0.05
_ROUNDING = 1e-3  # of a mixture's peak: files of 16 bits sum to their mixture up to this (60 dB below it)


class Hearing(NamedTuple):
    """How mixtures are heard in their rooms.

    Attributes:
        mics: numbers of the microphones, the reference first.
        target: one of :data:`TARGETS`.
        reverberant: with reflections; False: as in a room whose walls reflect nothing.
        snr_db: least and largest level of the sources over the white noise; None: no white noise.
        seed: of rooms, positions and noise.
    """

    mics: tuple[int, ...]
    target: str = "early"
    reverberant: bool = True
    snr_db: tuple[float, float] | None = None
    seed: int = 0


class InRoom(NamedTuple):
    """Parts of a mixture in a room; the mixture at the reference is the sum of the images and the noise.

    Attributes:
        images: each source at the reference microphone, ``[J, T]``.
        noise: noise at the reference microphone, ``[T]``.
        others: the mixture at each other microphone, ``[C - 1, T]``.
        targets: each source at the reference microphone, as the target has it, ``[J, T]``.
    """

    images: np.ndarray
    noise: np.ndarray
    others: np.ndarray
    targets: np.ndarray


class RoomMixtures(MixtureDataset):
    """A set's mixtures in rooms: each item always in the same one, at the same positions.

    Room, positions and level of the noise are a function of (seed, name of the item), and a crop is a part of the whole
    mixture in its room: sound from before the crop is heard in it. A mixture is as long as it is in the set; what still
    sounds after its end is left out. A source's level is such that its direct sound at the reference microphone is as
    loud as the source itself, as in WHAMR!. Sound comes later than in the set, by its way and 40 samples.

    What the set's mixture has beside its sources (noise) is heard from a position of its own. White noise is drawn for
    each microphone; its level is below the direct sound of all sources together, over the whole mixture.

    Args:
        base: the set, of one microphone, whose mixtures are the sum of their sources and noise.
        bank: the rooms.
        hearing: microphones, targets and noise.

    Raises:
        StabError: the set has several microphones; or (an item) it has noise, and the rooms have no position for it, or
            a sample is not finite.
    """

    def __init__(self, base: MixtureDataset, bank: RoomBank, hearing: Hearing):
        if base.n_mics > 1:
            raise StabError(
                f"base must have mixtures of one microphone, got {base.n_mics}: set {{argument}}=[0]", "base.mics"
            )
        super().__init__(base.names, base.lengths, base.n_src, base.sample_rate, None, base.seed)
        self.base, self.bank, self.hearing = base, bank, hearing
        self.segment, self.n_short = base.segment, base.n_short
        self.classes, self.labels, self.n_active = base.classes, base.labels, base.n_active
        self.stable_ids, self.tasks, self.n_mics = base.stable_ids, base.tasks, len(hearing.mics)
        self._powers = np.full(len(self), np.nan)  # of the items' sources, as far as they are known

    @property
    def fingerprint(self) -> str:
        """Digest of the set, the rooms, and how they are heard; microphones beside the reference do not count."""
        return self._digest_with(self.hearing)

    def _digest_with(self, hearing: Hearing) -> str:
        heard_by = hearing._replace(mics=hearing.mics[:1])
        own = f"{self.base.fingerprint} {self.bank.plan.digest.hex()} {tuple(heard_by)}"
        return hashlib.sha256(own.encode()).hexdigest()[:16]

    def sampler(self, batch_size: int, seed: int, rank: int = 0, world_size: int = 1) -> EpochSampler | TaskSampler:
        """Returns the set's own order."""
        return self.base.sampler(batch_size, seed, rank, world_size)

    def read(self, row: int, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        return self._joined(self.parts(row, start, stop))

    def parts(self, row: int, start: int, stop: int, epoch: int = 0) -> InRoom:
        """Returns the parts of a mixture's samples ``[start, stop)``.

        Args:
            row: the item.
            start: first sample.
            stop: last sample and one.
            epoch: of the draw of its room.
        """
        plan = self.bank.plan
        before = min(start, (plan.n_samples if self.hearing.reverberant else plan.n_direct) - 1)
        mixture, sources = self.base.read(self.base.rows[row], start - before, stop)
        if self.hearing.snr_db is not None and np.isnan(self._powers[row]):
            self._powers[row] = _power(self.base.read(self.base.rows[row], 0, self.lengths[row])[1])
        return self._in_room(row, mixture, sources, start, stop - start, self._powers[row], (epoch, epoch))

    def check_positions(self) -> None:
        """Checks on the first item that the rooms have a position for noise, where the set's mixtures have it.

        Raises:
            StabError: they have none.
        """
        self.parts(0, 0, min(self.lengths[0], self.sample_rate))

    def _in_room(
        self,
        row: int,
        mixture: np.ndarray,
        sources: np.ndarray,
        start: int,
        n_samples: int,
        power: float,
        epochs: tuple[int, int],
    ) -> InRoom:
        """The last ``n_samples`` of a dry mixture, in the room of the first epoch with the noise of the second."""
        seed, plan = self.hearing.seed, self.bank.plan
        item = int.from_bytes(hashlib.blake2b(self.names[row].encode(), digest_size=8).digest(), "big")
        generator = np.random.default_rng((seed, epochs[0], item))
        room, positions = int(generator.integers(plan.n_rooms)), generator.permutation(plan.n_positions).tolist()
        rest = mixture - sources.sum(0)
        if not np.isfinite(rest).all():  # no sample of the mixture itself would be left to look at
            raise StabError(f"audio must be finite, got NaN or infinite samples in item {self.names[row]!r}")
        noisy = np.abs(rest).max() > _ROUNDING * np.abs(mixture).max()
        signals = np.concatenate([sources, rest[None]]) if noisy else sources
        if len(signals) > len(positions):
            raise StabError(
                f"the mixtures of base have noise, which is heard from a position of its own: {{argument}} must be at "
                f"least {len(signals)}, got {len(positions)}",
                "n_positions",
            )
        found = [self.bank.read(room, position) for position in positions[: len(signals)]]
        responses, targets = self._responses(found)
        j = len(sources)
        if targets is not None and noisy:
            targets = np.concatenate([targets[:j], np.zeros_like(targets[:1])])
        images, others, early = heard(signals, responses, targets, n_samples)
        noise = images[j:].sum(0)
        if self.hearing.snr_db is not None:
            level = np.sqrt(power * 10 ** (-generator.uniform(*self.hearing.snr_db) / 10))
            white = white_noise((seed, epochs[1], item), self.hearing.mics, start, start + n_samples)
            white *= np.float32(level)
            noise, others = noise + white[0], others + white[1:]
        return InRoom(images[:j], noise, others, early[:j])

    def _responses(self, found: list[Responses]) -> tuple[np.ndarray, np.ndarray | None]:
        """Responses of the signals at the chosen microphones, ``[J, C, L]``, and of the targets, ``[J, L']``."""
        mics, reference = list(self.hearing.mics), self.hearing.mics[0]
        distances = np.array([one.distances[reference] for one in found])
        # Sound gets weaker by the distance: one metre away it is as loud as its source.
        direct = np.stack([one.direct[mics] for one in found]) * distances[:, None, None]
        if not self.hearing.reverberant:
            return direct, None
        whole = np.stack([one.whole[mics] for one in found]) * distances[:, None, None]
        if self.hearing.target == "image":
            return whole, None
        if self.hearing.target == "anechoic":
            return whole, direct[:, 0]
        ends = FILTER_LENGTH // 2 + (distances / SOUND_SPEED + _EARLY_S) * self.sample_rate
        early = np.zeros((len(found), min(round(ends.max()) + 1, whole.shape[-1])), np.float32)
        for row, response, end in zip(early, whole[:, 0], ends, strict=True):
            row[: round(end)] = response[: len(row)][: round(end)]
        return whole, early

    def _joined(self, parts: InRoom) -> tuple[np.ndarray, np.ndarray]:
        reference = parts.images.sum(0) + parts.noise
        mixture = reference if self.n_mics == 1 else np.concatenate([reference[None], parts.others])
        return mixture, parts.targets


class DrawnRoomMixtures(RoomMixtures):
    """Crops in rooms, of a set that makes its crops itself, or in a room that is drawn again in every epoch.

    Sound from before the crop is heard in it only where the set can be read in parts; crops that the set makes itself
    start in a silent room.

    Args:
        base: the set, of one microphone.
        bank: the rooms.
        hearing: microphones, targets and noise.
        fresh: room, positions and level of the noise are a function of (seed, epoch, name of the item); False: of
            (seed, name of the item).
    """

    def __init__(self, base: MixtureDataset, bank: RoomBank, hearing: Hearing, fresh: bool):
        super().__init__(base, bank, hearing)
        self.fresh, self.makes_crops = fresh, makes_crops(base)

    @property
    def fingerprint(self) -> str:
        """Digest of the set, the rooms, and how they are drawn and heard; the seed of fresh rooms does not count."""
        own = self._digest_with(self.hearing._replace(seed=0)) if self.fresh else super().fingerprint
        return hashlib.sha256(f"{own} {self.fresh}".encode()).hexdigest()[:16]

    def audio(self, epoch: int, item: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns mixture ``[T]`` or ``[C, T]`` and sources ``[J, T]`` that an item gives in an epoch."""
        drawn_in = epoch if self.fresh else 0
        if self.makes_crops:
            mixture, sources = self.base.audio(epoch, item)
            n_samples, power = mixture.shape[-1], _power(sources)
            return self._joined(self._in_room(item, mixture, sources, 0, n_samples, power, (drawn_in, epoch)))
        length = self.lengths[item]
        segment = length if self.segment is None else self.segment
        start = crop_start(self.seed, epoch, item, length, segment)
        return self._joined(self.parts(item, start, start + segment, drawn_in))


def makes_crops(base: MixtureDataset) -> bool:
    """Returns whether a set makes its crops itself, so that parts of its mixtures cannot be read."""
    return type(base).audio is not MixtureDataset.audio


def _power(sources: np.ndarray) -> float:
    """Mean power of all sources together: of different speakers, powers add up."""
    return float(np.square(sources, dtype=np.float64).mean(1).sum())
