"""Any corpus of one microphone in simulated rooms, with any number of microphones."""

from __future__ import annotations

import math
from collections.abc import Sequence

from asteroid_stab.data.corpus import SPLITS, Corpus, check_choice, check_count, check_split
from asteroid_stab.data.padding import PaddedMixtures
from asteroid_stab.data.rooms.bank import RoomBank, RoomPlan
from asteroid_stab.data.rooms.geometry import GEOMETRIES
from asteroid_stab.data.rooms.mixtures import TARGETS, DrawnRoomMixtures, Hearing, RoomMixtures, makes_crops
from asteroid_stab.data.toy.speech import cache_folder
from asteroid_stab.data.utterances import Utterances
from asteroid_stab.errors import StabError, within
from asteroid_stab.microphones import check_mics

MOST_MICS, MOST_POSITIONS, MOST_ROOMS = 64, 64, 1_000_000
LONGEST_RT60_S = 3.0


class RoomsCorpus(Corpus):
    """The mixtures of a corpus in simulated rooms, as a circle of microphones hears them.

    The rooms of each split are simulated once (by pyroomacoustics) and kept in a file, the bank; a simulation that was
    killed goes on. Each mixture is put into one of them, with each source at another position. Rooms of the splits stay
    apart. Ids and names are the base's, and so is the number of sources.

    Args:
        base: the corpus; its mixtures must be the sum of their sources and noise.
        geometry: ranges of rooms and positions: ``sms_wsj`` (about 8 m by 6 m, the array turned and tilted at random,
            sources 1 to 2 m away at its height) or ``whamr`` (5 to 10 m either way, sources 0.66 to 2 m away at the
            heights of heads).
        n_mics: microphones in a room, evenly on a circle.
        n_positions: positions of sources in a room; one more than sources where the base has noise, which is heard from
            a position of its own.
        low_rt60_s: least reverberation time; None: the geometry's.
        high_rt60_s: largest reverberation time; None: the geometry's.
        n_train_rooms: rooms to train in.
        n_valid_rooms: rooms to validate in.
        n_test_rooms: rooms to test in.
        room_seed: seed of the rooms, and of who is where. Runs that differ in their own seed share them.
        fresh: put a training mixture into another room in every epoch, drawn with the run's seed.
        reverberant: with reflections; False: as in a room whose walls reflect nothing, where all targets are the same.
        target: sources of the mixtures: ``early`` (direct sound and 50 ms after it), ``image`` (all of it, so that
            sources and noise sum to the mixture) or ``anechoic`` (direct sound).
        low_snr_db: least level of the sources' direct sound over white noise at each microphone; None: no such noise.
            (SMS-WSJ goes by the sources with their reflections, which are a few dB louder.)
        high_snr_db: largest level of it; None: no such noise.
        mics: microphones that the model sees, from 0; None: all.
        ref_mic: the one of them where the sources are, which the model sees first; None: the first of ``mics``.
        cache_dir: folder of the rooms; None: ``ASTEROID_STAB_CACHE``, else the user's cache folder.

    Raises:
        ValueError: an argument is out of its range, or there are fewer positions than sources.

    References:
        Drude, Heitkaemper, Boeddeker, Haeb-Umbach, "SMS-WSJ: Database, performance measures, and baseline recipe for
        multi-channel source separation and recognition", 2019, arXiv 1910.13934. Maciejewski, Wichern, McQuinn, Le
        Roux, "WHAMR!: Noisy and reverberant single-channel speech separation", ICASSP 2020, arXiv 1910.10279. The
        ranges are of their generators (https://github.com/fgnt/sms_wsj, http://wham.whisper.ai), with any numbers of
        microphones and sources, and for WHAMR! one range of reverberation times.
    """

    def __init__(
        self,
        base: Corpus,
        geometry: str = "sms_wsj",
        n_mics: int = 6,
        n_positions: int = 4,
        low_rt60_s: float | None = None,
        high_rt60_s: float | None = None,
        n_train_rooms: int = 1000,
        n_valid_rooms: int = 100,
        n_test_rooms: int = 100,
        room_seed: int = 0,
        fresh: bool = False,
        reverberant: bool = True,
        target: str = "early",
        low_snr_db: float | None = None,
        high_snr_db: float | None = None,
        mics: Sequence[int] | None = None,
        ref_mic: int | None = None,
        cache_dir: str | None = None,
    ):
        if not isinstance(base, Corpus):
            raise ValueError(f"base must be a corpus, whose mixtures are put into rooms, got {type(base).__name__}")
        super().__init__(base.n_src, base.sample_rate)
        self.base, self.cache_dir, self.tasks = base, cache_dir, base.tasks
        self.geometry = check_choice("geometry", geometry, tuple(GEOMETRIES))
        self.n_mics = check_count("n_mics", n_mics, 1, MOST_MICS)
        self.n_positions = check_count("n_positions", n_positions, 1, MOST_POSITIONS)
        if n_positions < base.n_src:
            raise ValueError(f"n_positions must be at least {base.n_src}, the sources of base, got {n_positions}")
        self.rt60_s = _check_rt60(geometry, low_rt60_s, high_rt60_s)
        counts = zip(SPLITS, (n_train_rooms, n_valid_rooms, n_test_rooms), strict=True)
        self.n_rooms = {split: check_count(f"n_{split}_rooms", count, 1, MOST_ROOMS) for split, count in counts}
        self.room_seed, self.fresh = check_count("room_seed", room_seed, 0), fresh
        self.choice, self.reverberant = check_mics(mics, ref_mic), reverberant
        self.target, self.snr_db = check_choice("target", target, TARGETS), _check_snr(low_snr_db, high_snr_db)
        self.references = target if reverberant else "anechoic"
        self.whole_sources = target == "image" or not reverberant

    def prepare(self, splits: Sequence[str]) -> None:
        """Makes the files of the base, and simulates the rooms that are not in the cache.

        Raises:
            StabError: the rooms have no such microphone, as :meth:`bank`, or the base raises.
        """
        self.hearing(self.room_seed)  # before an hour of simulation
        with within("base"):
            self.base.prepare(splits)
        for split in splits:
            self.bank(split)

    def utterances(self, split: str) -> Utterances:
        """Returns the utterances of the base, as they are outside of rooms."""
        with within("base"):
            return self.base.utterances(split)

    def hearing(self, seed: int) -> Hearing:
        """Returns how the mixtures are heard, with rooms and positions drawn by a seed.

        Raises:
            StabError: the rooms have no such microphone.
        """
        return Hearing(self.choice.channels(self.n_mics), self.target, self.reverberant, self.snr_db, seed)

    def bank(self, split: str) -> RoomBank:
        """Returns the rooms of a split, simulated if they are not in the cache.

        Raises:
            StabError: pyroomacoustics is not installed, the cache cannot be written, or the file is damaged.
        """
        seed = (self.room_seed, SPLITS.index(check_split(split)))
        low, high = self.rt60_s
        plan = RoomPlan(
            self.geometry, self.n_rooms[split], self.n_mics, self.n_positions, low, high, self.sample_rate, seed
        )
        return RoomBank.open_or_make(plan, cache_folder(self.cache_dir))

    def dataset(self, split: str, segment_s: float | None = None, seed: int = 0) -> RoomMixtures:
        fresh = self.fresh and split == "train" and segment_s is not None
        hearing = self.hearing(seed if fresh else self.room_seed)
        bank = self.bank(split)
        with within("base"):
            base = self.base.dataset(split, segment_s, seed)
        if fresh or makes_crops(base):
            built: RoomMixtures = DrawnRoomMixtures(base, bank, hearing, fresh)
        else:
            built = RoomMixtures(base, bank, hearing)
        built.check_positions()
        return built

    def padded_dataset(self, split: str, segment_s: float, seed: int = 0) -> PaddedMixtures:
        """Builds the data set of a split with short mixtures padded.

        Raises:
            StabError: the rooms are fresh in every epoch, which padded mixtures are not; or the base cannot pad.
        """
        if self.fresh and split == "train":
            raise StabError(
                "mixtures that are padded stay in one room: set {argument}=false, or loader.pad_short=false", "fresh"
            )
        if type(self.base).padded_dataset is not Corpus.padded_dataset:  # a corpus that says why it cannot
            with within("base"):
                self.base.padded_dataset(split, segment_s, seed)
        return super().padded_dataset(split, segment_s, seed)


def _check_rt60(geometry: str, low: float | None, high: float | None) -> tuple[float, float]:
    """Returns the limits of the reverberation time in s.

    Raises:
        ValueError: they are out of their range.
    """
    low = GEOMETRIES[geometry].low_rt60_s if low is None else low
    high = GEOMETRIES[geometry].high_rt60_s if high is None else high
    if not 0 < low <= high <= LONGEST_RT60_S:
        raise ValueError(
            f"low_rt60_s must be above 0 and at most high_rt60_s, which is at most {LONGEST_RT60_S:g}, got {low} and "
            f"{high}"
        )
    return float(low), float(high)


def _check_snr(low: float | None, high: float | None) -> tuple[float, float] | None:
    """Returns the limits of the SNR in dB; None without noise.

    Raises:
        ValueError: one of them is missing, or they are out of their range.
    """
    if low is None and high is None:
        return None
    if low is None or high is None or not -math.inf < low <= high < math.inf:
        raise ValueError(
            f"low_snr_db and high_snr_db must be both null or both numbers, the lower first, got {low} and {high}"
        )
    return float(low), float(high)
