"""SMS-WSJ by its JSON database: early parts or whole images at the reference microphone."""

import json

import pytest
import soundfile
import torch
from trees import sms_wsj

from asteroid_stab.data import SmsWsjCorpus
from asteroid_stab.errors import StabError

EXAMPLE = "1_4k0c0301_4k6c030t"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return sms_wsj(tmp_path_factory.mktemp("sms_wsj"))


def signal(root, kind, mic, name=EXAMPLE):
    return torch.from_numpy(soundfile.read(root / kind / "cv_dev93" / f"{name}.wav", dtype="float32")[0][:, mic].copy())


@pytest.mark.parametrize(("mics", "ref_mic", "order"), [(None, None, range(6)), ([4, 1], 1, (1, 4)), ([3], None, (3,))])
def test_early_parts_and_whole_images(root, mics, ref_mic, order):
    for target in ("early", "image"):
        corpus = SmsWsjCorpus(str(root), target, mics=mics, ref_mic=ref_mic)
        assert corpus.references == target
        data = corpus.dataset("valid")
        assert (data.names[1], data.n_src, data.n_mics) == (EXAMPLE, 2, len(order))
        mixture, sources, _ = data[1]
        assert torch.equal(
            mixture.reshape(len(order), -1), torch.stack([signal(root, "observation", m) for m in order])
        )
        for j in (0, 1):
            early, tail = (signal(root, kind, order[0], f"{EXAMPLE}_{j}") for kind in ("early", "tail"))
            assert torch.equal(sources[j], early if target == "early" else early + tail)
    whole = sources.sum(0) + signal(root, "noise", order[0])
    assert torch.allclose(mixture.reshape(len(order), -1)[0], whole, atol=2e-4)  # 16 bits each


def test_a_database_of_another_name_and_absolute_paths(root, tmp_path):
    content = json.loads((root / "sms_wsj.json").read_text())
    for entry in content["datasets"]["cv_dev93"].values():
        paths = entry["audio_path"]
        for key, value in paths.items():
            paths[key] = [f"{root}/{one}" for one in value] if isinstance(value, list) else f"{root}/{value}"
    (tmp_path / "mine.json").write_text(json.dumps(content))
    theirs = SmsWsjCorpus(str(root)).dataset("valid", 0.5, seed=1)
    ours = SmsWsjCorpus(str(tmp_path / "mine.json")).dataset("valid", 0.5, seed=1)
    assert ours.fingerprint == theirs.fingerprint
    assert all(torch.equal(a, b) for a, b in zip(ours[2][:2], theirs[2][:2], strict=True))


def test_arguments_out_of_range(root):
    with pytest.raises(ValueError, match="target must be one of early, image, got 'tail'"):
        SmsWsjCorpus("x", "tail")
    with pytest.raises(ValueError, match="mics must be a list of different channels"):
        SmsWsjCorpus("x", mics=[])
    with pytest.raises(StabError, match=r"^root is not set; set root=FOLDER to the folder that holds sms_wsj.json, or"):
        SmsWsjCorpus().dataset("train")
    with pytest.raises(StabError, match="^root: there is no file .*/early/sms_wsj.json; set root=FOLDER"):
        SmsWsjCorpus(str(root / "early")).dataset("train")
    with pytest.raises(StabError, match="mics must be of the 6 channels of the mixtures, from 0 to 5, got 6"):
        SmsWsjCorpus(str(root), mics=[6]).dataset("train")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "mine.json cannot be read as a database: "),
        ("[]", "mine.json must be a database with 'datasets', as the generator of SMS-WSJ writes it"),
        ('{"datasets": {"other": {}}}', "mine.json has no examples of train_si284, it has other"),
        (
            '{"datasets": {"train_si284": {"a": {}}}}',
            "example 'a' must have audio_path.observation, the file of its",
        ),
        (
            '{"datasets": {"train_si284": {"a": {"audio_path": {"observation": "a.wav"}}}}}',
            "example 'a' must have a list audio_path.speech_reverberation_early: its generator .* with write_all=True",
        ),
        (
            '{"datasets": {"train_si284": {"a": {"audio_path": {"observation": "a.wav", '
            '"speech_reverberation_early": ["b.wav"]}}}}}',
            "example 'a' has 1 sources, but n_src=2 was asked for",
        ),
    ],
)
def test_databases_that_are_none(tmp_path, content, message):
    (tmp_path / "mine.json").write_text(content)
    with pytest.raises(StabError, match=message):
        SmsWsjCorpus(str(tmp_path / "mine.json")).dataset("train")
