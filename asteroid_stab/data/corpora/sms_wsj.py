"""SMS-WSJ as its generator left it on disk: six microphones in simulated rooms, listed in a JSON database."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from asteroid_stab.data.corpora.mixture_files import MIXTURE, MixtureFiles
from asteroid_stab.data.corpus import HIGHEST_RATE, Corpus, check_choice, check_count, check_split
from asteroid_stab.errors import StabError, cause, nearest
from asteroid_stab.microphones import check_mics

DATABASE = "sms_wsj.json"
_DATASETS = {"train": "train_si284", "valid": "cv_dev93", "test": "test_eval92"}
_EARLY, _TAIL = "speech_reverberation_early", "speech_reverberation_tail"
# The files whose sum is a source, by the name of the target.
_TARGETS = {"early": (_EARLY,), "image": (_EARLY, _TAIL)}


class SmsWsjCorpus(Corpus):
    """SMS-WSJ: two speakers and noise at six microphones, in rooms.

    The database names the files of each example: ``observation``, and for each speaker ``speech_reverberation_early``
    (the first 50 ms of the impulse response) and ``speech_reverberation_tail``. A path that is not absolute starts from
    the database's folder. Ids follow the order of the database.

    Args:
        root: the folder that holds ``sms_wsj.json``, or a database of another name (``.json``).
        target: sources of the mixtures: ``early``, or ``image``, which is early part and tail together, so that the
            sources and the noise sum to the mixture.
        n_src: speakers in a mixture.
        sample_rate: of the files, in Hz.
        mics: microphones that the model sees, from 0 to 5; None: all.
        ref_mic: the one of them where the sources are, which the model sees first; None: the first of ``mics``.

    Raises:
        ValueError: an argument is out of its range.

    References:
        Drude, Heitkaemper, Boeddeker, Haeb-Umbach, "SMS-WSJ: Database, performance measures, and baseline recipe for
        multi-channel source separation and recognition", 2019, arXiv 1910.13934. Its layout is the generator's, of
        https://github.com/fgnt/sms_wsj. Early parts as the default target are our reading.
    """

    def __init__(
        self,
        root: str | None = None,
        target: str = "early",
        n_src: int = 2,
        sample_rate: int = 8000,
        mics: Sequence[int] | None = None,
        ref_mic: int | None = None,
    ):
        super().__init__(n_src, check_count("sample_rate", sample_rate, 1, HIGHEST_RATE))
        self.root = root
        self.target = self.references = check_choice("target", target, tuple(_TARGETS))
        self.whole_sources = target == "image"
        self.choice = check_mics(mics, ref_mic)

    def dataset(self, split: str, segment_s: float | None = None, seed: int = 0) -> MixtureFiles:
        name = _DATASETS[check_split(split)]
        file = self._database()
        examples = _examples(file, name)
        parts = _TARGETS[self.target]
        paths: dict[str, list[str]] = {MIXTURE: []}
        for example, entry in examples.items():
            found = _paths(file, example, entry, parts, self.n_src)
            for role, path in found.items():
                paths.setdefault(role, []).append(str(file.parent / path))
        return MixtureFiles(
            [*examples], paths, file.parent, self.sample_rate, segment_s, seed, self.choice, n_parts=len(parts)
        )

    def _database(self) -> Path:
        mend = f"set {{argument}}=FOLDER to the folder that holds {DATABASE}, or to a database (.json)"
        if self.root is None:
            raise StabError(f"{{argument}} is not set; {mend}", "root")
        file = Path(self.root)
        file = file if file.suffix.lower() == ".json" else file / DATABASE
        if not file.is_file():
            raise StabError(f"{{argument}}: there is no file {file}; {mend}", "root")
        return file


def _examples(file: Path, name: str) -> Mapping[str, Any]:
    """Returns the examples of a data set in a database, by their ids.

    Raises:
        StabError: the file is no database, or has no such data set.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise StabError(f"{file} cannot be read as a database: {cause(error)}") from error
    datasets = content.get("datasets") if isinstance(content, Mapping) else None
    if not isinstance(datasets, Mapping):
        raise StabError(f"{file} must be a database with 'datasets', as the generator of SMS-WSJ writes it")
    if not isinstance(datasets.get(name), Mapping) or not datasets[name]:
        raise StabError(f"{file} has no examples of {name}, it has {', '.join(datasets) or 'no data set'}")
    return datasets[name]


def _paths(file: Path, example: str, entry: Any, parts: Sequence[str], n_src: int) -> dict[str, str]:
    """Returns the files of an example by their roles: the mixture, then each part of each source.

    Raises:
        StabError: some are not named, or are of another number of sources.
    """
    named = entry.get("audio_path") if isinstance(entry, Mapping) else None
    named = named if isinstance(named, Mapping) else {}
    if not isinstance(named.get("observation"), str):
        raise StabError(f"{file}: example {example!r} must have audio_path.observation, the file of its mixture")
    found = {MIXTURE: named["observation"]}
    for j in range(n_src):
        for part in parts:
            files = named.get(part)
            if not isinstance(files, list) or not all(isinstance(one, str) for one in files):
                mend = "its generator writes these files with write_all=True"
                raise StabError(
                    f"{file}: example {example!r} must have a list audio_path.{part}{nearest(part, named)}: {mend}"
                )
            if len(files) != n_src:
                raise StabError(
                    f"{file}: example {example!r} has {len(files)} sources, but n_src={n_src} was asked for"
                )
            found[f"{part} {j + 1}"] = files[j]
    return found
