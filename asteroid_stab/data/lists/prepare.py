"""Makes mixture lists for a folder of speech: ``asteroid-stab prepare``."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from asteroid_stab.atomic import check_writable, making, write_text
from asteroid_stab.audio.mixing import SOURCE_RATE
from asteroid_stab.data.lists.levels import MIN_SECONDS, Level
from asteroid_stab.data.lists.maker import DamagedAudioError, ListMaker, ListSummary, Progress, hold_out, stream
from asteroid_stab.data.lists.mixture_list import MixtureList, write_mixture_list
from asteroid_stab.data.lists.pairing import Mixture, most_mixtures, pair_utterances, shuffle
from asteroid_stab.data.lists.speech_folder import Utterance, find_noise, find_speech
from asteroid_stab.errors import StabError, some
from asteroid_stab.paths import check_name, folder_names


@dataclass(frozen=True)
class Plan:
    """Which lists to make; the fields are the options of ``asteroid-stab prepare``.

    Attributes:
        subsets: folders of the corpus whose speakers are mixed with each other.
        n_src: sources in a mixture, of as many speakers.
        n_mixtures: number of mixtures; None: as many as there are with each utterance once.
        seed: of all draws.
        noise_subset: folder of the noise corpus to take noises from; None: all.
        valid_speakers: number of speakers held out, for a list of their own; a tenth of the noises is held out with
            them.
        n_valid: number of mixtures of the speakers held out; None as for ``n_mixtures``.
        min_seconds: utterances shorter than this are left out (3 s in LibriMix).
        reuse: use utterances several times if the number of mixtures needs it, no combination twice.

    Raises:
        StabError: a number is out of its range.
    """

    subsets: Sequence[str]
    n_src: int = 2
    n_mixtures: int | None = None
    seed: int = 0
    noise_subset: str | None = None
    valid_speakers: int = 0
    n_valid: int | None = None
    min_seconds: float = 3.0
    reuse: bool = False

    def __post_init__(self) -> None:
        least = {"n_src": 1, "n_mixtures": 1, "n_valid": 1, "valid_speakers": 0, "min_seconds": MIN_SECONDS}
        for name, bound in least.items():
            value = getattr(self, name)
            if value is not None and not value >= bound:  # nor nan
                raise StabError(f"{name} must be at least {bound}, got {value}")
        object.__setattr__(self, "subsets", folder_names(self.subsets, "a subset"))
        check_name(f"{self.every_stem[-1]}_info.json", "the names of the lists, made of the subsets,")
        if not self.subsets:
            raise StabError("subsets must name a folder of the corpus, got none")
        if self.n_valid is not None and not self.valid_speakers:
            raise StabError(f"n_valid needs valid_speakers, got n_valid={self.n_valid} and valid_speakers=0")
        if 0 < self.valid_speakers < self.n_src:
            raise StabError(
                f"valid_speakers must be at least n_src={self.n_src}, the speakers of a mixture, got "
                f"{self.valid_speakers}"
            )

    @property
    def stems(self) -> list[str]:
        """Names of the lists, without suffix: as LibriMix's, and ``-valid`` for the speakers held out."""
        return self.every_stem[: 2 if self.valid_speakers else 1]

    @property
    def every_stem(self) -> list[str]:
        """Names of the lists of these subsets, also of one that the plan does not make and an earlier one has made."""
        stem = f"libri{self.n_src}mix_{'+'.join(self.subsets)}"
        return [stem, f"{stem}-valid"]


def prepare_lists(
    plan: Plan,
    root: str | os.PathLike[str],
    out: str | os.PathLike[str],
    noise_root: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    progress: Progress = lambda work, name, amount: work,
) -> list[ListSummary]:
    """Writes ``out/libri<J>mix_<subset>.csv``, and ``..-valid.csv`` if speakers are held out.

    The same plan and files give the same lists, on any machine. A list appears complete or not
    at all, with the plan in ``.._info.json`` beside it (LibriMix's generator skips names with "info").

    Args:
        plan: the lists to make.
        root: the speech corpus, as ``subset/speaker/.../utterance.flac`` or ``.wav``.
        out: folder for the lists.
        noise_root: folder of noise; None for lists without noise.
        overwrite: replace lists that are there, and remove the list of held-out speakers that this plan does not make:
            the new list may train on them.
        progress: wraps the long loops.

    A file that cannot be used (damaged, silent, of another rate) is left out, as if it were not there, and is in
    ``damaged`` of the summaries.

    Raises:
        StabError: a list is there already or made by another process, ``out`` cannot be written, no audio can be used,
            or there are fewer different mixtures than asked for.
    """
    paths = [Path(out) / f"{stem}.csv" for stem in plan.stems]
    old = [Path(out) / f"{stem}{end}" for stem in plan.every_stem for end in (".csv", "_info.json")]
    if there := [str(path) for path in old if path.suffix == ".csv" and path.exists() and not overwrite]:
        raise StabError(f"{', '.join(there)} must not be there yet; --overwrite replaces lists")
    damaged: dict[str, str] = {}
    every = find_speech(root, plan.subsets, damaged)
    usable = [u for u in every if u.n_frames >= plan.min_seconds * SOURCE_RATE]
    noises = [] if noise_root is None else find_noise(noise_root, plan.noise_subset, damaged)
    if not usable:
        longest = max(u.n_frames for u in every) / SOURCE_RATE
        raise StabError(
            f"min_seconds must be at most {longest:.2f}, the longest of {len(every)} utterances, got {plan.min_seconds}"
        )
    check_writable(out, "name another folder with --out")
    levels: dict[str, Level] = {}
    while True:  # only decoding shows damage to the samples: the files are left out, and the others paired again
        try:
            made = _make(plan, root, noise_root, usable, noises, levels, out, progress)
            break
        except DamagedAudioError as error:
            damaged.update(error.reasons)
            usable = [u for u in usable if f"{root}/{u.name}" not in damaged]
            noises = _undamaged(noises, noise_root, damaged)
        except StabError as error:
            raise StabError(f"{error}{_hint(plan, every, usable, damaged)}") from error
    n_too_short = sum(u.n_frames < plan.min_seconds * SOURCE_RATE for u in every)
    summaries = []
    try:
        with making(paths[0], "wait for its end, or name another folder with --out"):
            for one in old:  # of an earlier plan, whose held-out speakers may be trained on now
                one.unlink(missing_ok=True)
            for path, (rows, summary) in zip(paths, made, strict=True):
                summary = replace(summary, path=str(path), n_too_short=n_too_short, damaged=damaged)
                # Names only, so that the file does not depend on the place of the corpus.
                roots = {one: root if one.startswith(f"{root}/") else noise_root for one in damaged}
                names = sorted(Path(os.path.relpath(one, roots[one])).as_posix() for one in damaged)
                report = {**asdict(summary), "path": path.name, "unused": len(summary.unused), "damaged": names}
                about = json.dumps({"plan": asdict(plan), "list": report}, indent=1) + "\n"
                write_text(path.with_name(f"{path.stem}_info.json"), about)
                write_mixture_list(rows, path)
                summaries.append(summary)
    except OSError as error:
        raise StabError(f"cannot write the lists to {str(out)!r}: {error.strerror}; name another folder") from error
    return summaries


def _make(
    plan: Plan,
    root: str | os.PathLike[str],
    noise_root: str | os.PathLike[str] | None,
    usable: list[Utterance],
    noises: list[Utterance],
    levels: dict[str, Level],
    out: str | os.PathLike[str],
    progress: Progress,
) -> list[tuple[MixtureList, ListSummary]]:
    """Makes the lists of these utterances and noises."""
    speech_parts, noise_parts = _split_speech(usable, plan), _split_noise(noises, plan)
    # All pairs before the first loudness: an error comes at once, and no list is written.
    pairs = [
        _pair(part, argument, stem, plan)
        for part, argument, stem in zip(speech_parts, ("n_mixtures", "n_valid"), plan.stems, strict=False)
    ]
    return [
        ListMaker(stem, speech, mixtures, root, noise, noise_root, plan.seed, levels, out).make(progress)
        for stem, speech, mixtures, noise in zip(plan.stems, speech_parts, pairs, noise_parts, strict=True)
    ]


def _undamaged(
    noises: list[Utterance], root: str | os.PathLike[str] | None, damaged: dict[str, str]
) -> list[Utterance]:
    """Returns the noises that can be used.

    Raises:
        StabError: there are none; lists without noise were not asked for.
    """
    kept = [noise for noise in noises if f"{root}/{noise.name}" not in damaged]
    if noises and not kept:
        raise StabError(f"none of the {len(noises)} noises can be used: {damaged[f'{root}/{noises[0].name}']}")
    return kept


def _hint(plan: Plan, every: list[Utterance], usable: list[Utterance], damaged: dict[str, str]) -> str:
    """Returns what keeps the lists small, behind an error that they would be too small."""
    hints = []
    speakers = sorted({u.speaker for u in every})
    if len(speakers) < plan.n_src + plan.valid_speakers:
        hints.append(f"speakers are the folders in {', '.join(plan.subsets)}: {some(speakers)}")
    if n_short := len(every) - sum(u.n_frames >= plan.min_seconds * SOURCE_RATE for u in every):
        n_gone = len(speakers) - len({u.speaker for u in usable})
        hints.append(f"{n_short} utterances are shorter than min_seconds={plan.min_seconds}, all of {n_gone} speakers")
    if damaged:
        hints.append(f"{len(damaged)} files were left out: {some(list(damaged.values()))}")
    return f" ({'; '.join(hints)})" if hints else ""


def _split_speech(utterances: list[Utterance], plan: Plan) -> list[list[Utterance]]:
    """Returns the utterances of each list: all, or the training speakers' and the held-out speakers'."""
    speakers = sorted({u.speaker for u in utterances})
    if not plan.valid_speakers:
        return [utterances]
    if plan.valid_speakers + plan.n_src > len(speakers):
        raise StabError(
            f"valid_speakers must leave n_src={plan.n_src} of the {len(speakers)} speakers for the other list, got "
            f"{plan.valid_speakers}"
        )
    held_out = hold_out(speakers, plan.valid_speakers, plan.seed)
    return [[u for u in utterances if (u.speaker in held_out) == valid] for valid in (False, True)]


def _split_noise(noises: list[Utterance], plan: Plan) -> list[list[Utterance]]:
    """Returns the noises of each list: all, or nine tenths and one tenth."""
    if not plan.valid_speakers:
        return [noises]
    if len(noises) == 1:
        raise StabError("with valid_speakers there must be at least 2 noises, one to hold out, got 1")
    order = list(range(len(noises)))
    shuffle(stream(plan.seed, "noises"), order)
    n_valid = -(-len(noises) // 10)
    return [[noises[i] for i in sorted(part)] for part in (order[n_valid:], order[:n_valid])]


def _pair(utterances: list[Utterance], argument: str, stem: str, plan: Plan) -> list[Mixture]:
    """Pairs the utterances of one list, whose number of mixtures is an argument of the plan."""
    groups: dict[str, list[int]] = {}
    for i, utterance in enumerate(utterances):
        groups.setdefault(utterance.speaker, []).append(i)
    decks = list(groups.values())
    n_mixtures = getattr(plan, argument)
    if n_mixtures is None:  # at least one, so that an empty list is refused like every impossible list
        n_mixtures = max(1, most_mixtures([len(deck) for deck in decks], plan.n_src))
    try:
        return pair_utterances(decks, plan.n_src, n_mixtures, stream(plan.seed, stem, "pairs"), plan.reuse)
    except StabError as error:
        raise StabError(f"{stem}: {error.message}", error.argument and argument) from error
