"""Small corpora in their usual trees, made of noise: what their generators leave on disk."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

RATE = 8000


def write(path, signal, rate=RATE):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, signal, rate)


def generate(tree, parts, roles, n_mixtures=4, rate=RATE, shortest=5000):
    """``tree/PART/ROLE/NAME.wav``: the first roles' sum in each role whose name begins with mix; lengths differ."""
    for number, part in enumerate(parts):
        rng = np.random.default_rng(number)
        for i in range(n_mixtures):
            signals = {role: 0.1 * rng.standard_normal(shortest + 700 * i) for role in roles if role[:3] != "mix"}
            speech = [role for role in signals if role[0] == "s"]
            made = {
                "mix": speech,
                "mix_clean": speech,
                "mix_both": [*speech, "noise"],
                "mix_single": ["s1", "noise"],
            }
            for role in roles:
                signal = sum(signals[one] for one in made[role]) if role in made else signals[role]
                write(Path(tree) / part / role / f"0{i}a_1.5_0{i}b_-1.5.wav", signal, rate)
    return Path(tree)


def wsj0_mix(root, n_src=2, **kwargs):
    """``root/2speakers/wav8k/min``."""
    roles = ["mix", *(f"s{k + 1}" for k in range(n_src))]
    generate(Path(root) / f"{n_src}speakers" / "wav8k" / "min", ("tr", "cv", "tt"), roles, **kwargs)
    return Path(root)


def wham(root, **kwargs):
    """``root/wav8k/min``."""
    roles = ("mix_both", "mix_single", "mix_clean", "s1", "s2", "noise")
    generate(Path(root) / "wav8k" / "min", ("tr", "cv", "tt"), roles, **kwargs)
    return Path(root)


def libri1mix(root, **kwargs):
    """``Libri1Mix/wav8k/min`` with its lists, which name the mixtures with noise alone."""
    subsets = ("train-360", "dev", "test")
    tree = generate(Path(root) / "wav8k" / "min", subsets, ("mix_single", "s1", "noise"), **kwargs)
    (tree / "metadata").mkdir()
    for subset in subsets:
        rows = [
            {
                "mixture_ID": path.stem,
                "mixture_path": path,
                "source_1_path": tree / subset / "s1" / path.name,
                "noise_path": tree / subset / "noise" / path.name,
                "length": soundfile.info(path).frames,
            }
            for path in sorted((tree / subset / "mix_single").iterdir())
        ]
        pd.DataFrame(rows).to_csv(tree / "metadata" / f"mixture_{subset}_mix_single.csv", index=False)
    return Path(root)


def librispeech(root, subsets, n_speakers=4, n_utterances=2, seconds=1.5, rate=16_000):
    """``root/SUBSET/SPEAKER/1/SPEAKER-1-0000.flac``; each subset has speakers of its own."""
    speakers = iter(range(100, 10_000))
    for subset in subsets:
        for _ in range(n_speakers):
            speaker = next(speakers)
            rng = np.random.default_rng(speaker)
            for i in range(n_utterances):
                file = Path(root) / subset / f"{speaker}" / "1" / f"{speaker}-1-{i:04d}.flac"
                write(file, 0.1 * rng.standard_normal(round(seconds * rate) + 160 * i), rate)
    return Path(root)


def noises(root, folders=("tr", "cv", "tt"), n_files=3, seconds=1.5, rate=16_000):
    """``root/FOLDER/n0.wav``: WHAM!'s noise, of two channels."""
    for k, folder in enumerate(folders):
        for i in range(n_files):
            signal = 0.1 * np.random.default_rng(10 * k + i).standard_normal((round(seconds * rate), 2))
            write(Path(root) / folder / f"{folder}{i}.wav", signal, rate)
    return Path(root)


def libri2mix_lists(root, out, names=("train-clean-100", "dev-clean", "test-clean")):
    """``out/libri2mix_SUBSET.csv`` of the first two speakers' utterances in each subset of a LibriSpeech."""
    Path(out).mkdir(parents=True, exist_ok=True)
    for name in names:
        files = sorted(path.relative_to(root).as_posix() for path in Path(root, name).rglob("*.flac"))
        half = len(files) // 2
        pairs = list(zip(files[:half], files[half:], strict=True))
        table = {"mixture_ID": [f"{name}-{i}" for i in range(half)]}
        for k in range(2):
            table[f"source_{k + 1}_path"] = [pair[k] for pair in pairs]
            table[f"source_{k + 1}_gain"] = 0.8 + 0.4 * k
        pd.DataFrame(table).to_csv(Path(out) / f"libri2mix_{name}.csv", index=False)
    return Path(out)


def array(root, parts=("tr", "cv", "tt"), n_mics=2, n_src=2, n_mixtures=4, images=False, rate=RATE):
    """``root/PART/{mix,s1,...}/NAME.wav``: delayed sources at each microphone; sources at the first one, or at all."""
    for number, part in enumerate(parts):
        rng = np.random.default_rng(number)
        for i in range(n_mixtures):
            dry = 0.1 * rng.standard_normal((n_src, 5000 + 700 * i))
            at = np.empty((n_src, n_mics, dry.shape[1]))
            for mic in range(n_mics):
                for j in range(n_src):
                    at[j, mic] = np.roll(dry[j], 3 * mic * (j + 1)) / (1 + mic)
            name = f"0{i}.wav"
            write(Path(root) / part / "mix" / name, at.sum(0).T, rate)
            for j in range(n_src):
                write(Path(root) / part / f"s{j + 1}" / name, at[j].T if images else at[j, 0], rate)
    return Path(root)


def whamr(root, n_mics=1, n_mixtures=4, rate=RATE):
    """``root/wav8k/min``: in rooms, a source is followed by an echo; the second microphone hears all of it later."""
    for number, part in enumerate(("tr", "cv", "tt")):
        rng = np.random.default_rng(number)
        for i in range(n_mixtures):
            dry, noise = (
                0.1 * rng.standard_normal((2, 5000 + 700 * i)),
                0.05 * rng.standard_normal((n_mics, 5000 + 700 * i)),
            )
            at = np.stack([np.roll(dry, 2 * mic, axis=1) for mic in range(n_mics)], 1)  # [J, C, T]
            for place, image in (("anechoic", at), ("reverb", at + 0.5 * np.roll(at, 100, axis=-1))):
                signals = {f"s{j + 1}_{place}": image[j] for j in (0, 1)} | {"noise": noise}
                signals[f"mix_single_{place}"] = image[0] + noise
                signals[f"mix_clean_{place}"] = image.sum(0)
                signals[f"mix_both_{place}"] = image.sum(0) + noise
                for role, signal in signals.items():
                    write(Path(root) / "wav8k" / "min" / part / role / f"0{i}a_1.5_0{i}b_-1.5.wav", signal.T, rate)
    return Path(root)


def sms_wsj(root, n_mixtures=3, n_mics=6, rate=RATE):
    """``root/sms_wsj.json`` and the files that it names: the generator's with ``write_all=True``."""
    root, datasets = Path(root), {}
    for number, name in enumerate(("train_si284", "cv_dev93", "test_eval92")):
        rng, examples = np.random.default_rng(number), datasets.setdefault(name, {})
        for i in range(n_mixtures):
            early, tail = 0.1 * rng.standard_normal((2, 2, n_mics, 5000 + 700 * i))
            noise = 0.01 * rng.standard_normal(early.shape[1:])
            example, paths = f"{i}_4k0c030{i}_4k6c030t", {}
            for kind, images in (("early", early), ("tail", tail)):
                paths[f"speech_reverberation_{kind}"] = files = []
                for j in (0, 1):
                    files.append(f"{kind}/{name}/{example}_{j}.wav")
                    write(root / files[-1], images[j].T, rate)
            paths["observation"], paths["noise_image"] = (
                f"{kind}/{name}/{example}.wav" for kind in ("observation", "noise")
            )
            write(root / paths["observation"], (early + tail).sum(0).T + noise.T, rate)
            write(root / paths["noise_image"], noise.T, rate)
            examples[example] = {"example_id": example, "num_speakers": 2, "audio_path": paths}
    (root / "sms_wsj.json").write_text(json.dumps({"datasets": datasets}))
    return root
