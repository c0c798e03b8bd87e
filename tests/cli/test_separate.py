import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import soundfile as sf
import torch

from asteroid_stab.atomic import making
from asteroid_stab.cli import main, separate
from asteroid_stab.errors import StabError
from asteroid_stab.metrics.counting import active_estimates
from asteroid_stab.microphones import MicChoice
from asteroid_stab.models import LatentRefinementNet, hosted
from asteroid_stab.models.files import load_model, save_model
from asteroid_stab.run.layout import RunLayout

RATE = 8000


@pytest.fixture
def model(tmp_path, tiny_model):
    path = tmp_path / "model.pth"
    save_model(tiny_model(), path)
    return path


def recording(path, n_samples=20_000, rate=RATE, n_channels=1, seed=0):
    path.parent.mkdir(exist_ok=True)
    signal = np.random.default_rng(seed).uniform(-0.5, 0.5, (n_samples, n_channels)).astype(np.float32)
    sf.write(path, signal, rate, "FLOAT" if path.suffix == ".wav" else "PCM_16")
    return signal


def test_short_file_is_the_plain_forward(tmp_path, model, capsys):
    signal = recording(tmp_path / "in/a.wav")[:, 0]
    assert separate.main([str(model), str(tmp_path / "in/a.wav")]) == 0
    with torch.no_grad():
        plain = load_model(model)(torch.from_numpy(signal)[None])[0].numpy()
    for j in (1, 2):
        estimate, rate = sf.read(tmp_path / f"in/a_est{j}.wav", dtype="float32")
        assert rate == RATE
        gain = signal @ plain[j - 1] / (plain[j - 1] @ plain[j - 1])
        np.testing.assert_allclose(estimate, gain * plain[j - 1], atol=1e-5)
    assert "2.5 s in" in capsys.readouterr().out


def test_long_file_in_windows(tmp_path, model):
    recording(tmp_path / "a.flac", 100_001)
    separate.main([str(model), str(tmp_path / "a.flac"), "--window-s", "2", "--overlap-s", "0.5"])
    for j in (1, 2):
        info = sf.info(tmp_path / f"a_est{j}.wav")
        assert (info.frames, info.samplerate, info.subtype) == (100_001, RATE, "FLOAT")


def test_run_folder_and_out(tmp_path, model):
    (tmp_path / "run").mkdir()
    model.rename(tmp_path / "run/best_model.pth")
    recording(tmp_path / "a.wav")
    separate.main([str(tmp_path / "run"), str(tmp_path / "a.wav"), "--out", str(tmp_path / "deep/out")])
    assert sorted(p.name for p in (tmp_path / "deep/out").iterdir()) == ["a_est1.wav", "a_est2.wav"]


def test_nothing_is_overwritten_unasked(tmp_path, model):
    recording(tmp_path / "a.wav")
    (tmp_path / "a_est2.wav").write_text("dear to me")
    with pytest.raises(StabError, match=r"a_est2\.wav exists; --overwrite replaces it"):
        separate.main([str(model), str(tmp_path / "a.wav")])
    assert not (tmp_path / "a_est1.wav").exists()
    separate.main([str(model), str(tmp_path / "a.wav"), "--overwrite"])
    assert sf.info(tmp_path / "a_est2.wav").frames == 20_000


def test_good_files_are_done_and_bad_ones_named(tmp_path, model, capsys):
    names = ["tiny.wav", "a.wav", "missing.wav", "text.wav", "rate.wav", "b.flac", "nan.wav", "cut.flac"]
    recording(tmp_path / "tiny.wav", 8)  # shorter than the model's kernel
    for name in ("a.wav", "b.flac"):
        recording(tmp_path / name)
    (tmp_path / "text.wav").write_text("no sound")
    recording(tmp_path / "rate.wav", rate=16_000)
    sf.write(tmp_path / "nan.wav", np.full(9000, np.nan), RATE, "FLOAT")
    recording(tmp_path / "cut.flac", 200_000)
    (tmp_path / "cut.flac").write_bytes((tmp_path / "cut.flac").read_bytes()[:100_000])
    status = main.main(["separate", str(model), *(str(tmp_path / name) for name in names)])
    error = capsys.readouterr().err
    assert status == 2
    assert "asteroid-stab separate: error: 6 of 8 files could not be separated" in error
    for name, reason in [
        ("tiny.wav", "the model cannot separate 8 samples at once: RuntimeError: "),
        ("missing.wav", "no such file"),
        ("text.wav", "no readable audio"),
        ("rate.wav", "works at 8000 Hz, the file is sampled at 16000 Hz (--resample converts it)"),
        ("nan.wav", "a sample at 0.00 s is not finite"),
        ("cut.flac", ""),
    ]:
        assert any(f"{name}: " in line and reason in line for line in error.splitlines()), name
    made = sorted(p.name for p in tmp_path.iterdir() if "_est" in p.name)
    assert made == ["a_est1.wav", "a_est2.wav", "b_est1.wav", "b_est2.wav"]
    assert not list(tmp_path.glob(".separate-*"))


def test_two_files_of_one_name(tmp_path, model):
    for folder in ("x", "y"):
        recording(tmp_path / folder / "a.wav")
    with pytest.raises(StabError, match=r"y/a\.wav: its estimates would replace the estimates of .*x/a\.wav"):
        separate.main([str(model), *(str(tmp_path / f / "a.wav") for f in "xy"), "--out", str(tmp_path / "out")])
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a_est1.wav", "a_est2.wav"]


def test_rate_and_channels(tmp_path, model):
    recording(tmp_path / "a.wav", 30_000, rate=16_000, n_channels=2)
    argv = [str(model), str(tmp_path / "a.wav"), "--resample", "--channel"]
    separate.main([*argv, "2"])
    second = sf.read(tmp_path / "a_est1.wav")[0]
    assert len(second) == 15_000
    separate.main([*argv, "mix", "--overwrite"])
    assert not np.allclose(second, sf.read(tmp_path / "a_est1.wav")[0])
    with pytest.raises(StabError, match="at most 2, got 3"):
        separate.main([*argv, "3", "--overwrite"])
    for wrong in ("0", "1,0", "1,1", "1,", "mix,1"):
        with pytest.raises(SystemExit):
            separate.main([*argv, wrong])


def test_a_variant_of_the_model_separates(tmp_path):
    torch.manual_seed(0)
    model = LatentRefinementNet(2, n_iterations=4, n_filters=16, bn_chan=8, upsampling_depth=2).eval()
    save_model(model, tmp_path / "model.pth")
    signal = recording(tmp_path / "a.wav")[:, 0]
    separate.main([str(tmp_path / "model.pth"), str(tmp_path / "a.wav"), "--variant", "iterations2"])
    with torch.no_grad():
        plain = model(torch.from_numpy(signal)[None], n_iterations=2)[0, 0].numpy()
    gain = signal @ plain / (plain @ plain)
    np.testing.assert_allclose(sf.read(tmp_path / "a_est1.wav")[0], gain * plain, atol=1e-5)


def test_options_that_cannot_be(tmp_path, model):
    recording(tmp_path / "a.wav")
    with pytest.raises(StabError, match="--variant: ConvTasNet has no variant 'iterations2'; it has none"):
        separate.main([str(model), str(tmp_path / "a.wav"), "--variant", "iterations2"])
    with pytest.raises(StabError, match="half a window"):
        separate.main([str(model), str(tmp_path / "a.wav"), "--overlap-s", "8"])
    with pytest.raises(StabError, match="no model file"):
        separate.main([str(tmp_path / "b.pth"), str(tmp_path / "a.wav")])
    with pytest.raises(StabError, match="GPUs, got 'cuda:99'"):
        separate.main([str(model), str(tmp_path / "a.wav"), "--device", "cuda:99"])
    with pytest.raises(StabError, match="got 'gpu'"):
        separate.main([str(model), str(tmp_path / "a.wav"), "--device", "gpu"])


def in_a_process(code, *args):
    """Runs ``code`` in a fresh process and returns what it prints last."""
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, args)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
    )
    return result.stdout.splitlines()[-1]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
def test_full_disk(tmp_path, model):
    recording(tmp_path / "a.wav", 200_000)
    code = """
        import resource, signal, sys
        from asteroid_stab.cli.main import main
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
        sys.stderr = sys.stdout
        status = main(["separate", *sys.argv[1:], "--window-s", "2", "--overlap-s", "0.5"])
        print(status)
        """
    assert in_a_process(code, model, tmp_path / "a.wav") == "2"
    assert not list(tmp_path.glob("*_est*"))
    assert not list(tmp_path.glob(".separate-*"))


def peak_bytes(model, path):
    code = """
        import resource, sys
        from asteroid_stab.cli.main import main
        assert main(["separate", *sys.argv[1:]]) == 0
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))
        """
    return int(in_a_process(code, model, path))


@pytest.mark.slow
def test_half_an_hour_in_two_gigabytes(tmp_path, model):
    n_samples = 30 * 60 * RATE
    with sf.SoundFile(tmp_path / "long.flac", "w", RATE, 1, "PCM_16") as file:
        rng = np.random.default_rng(0)
        for _ in range(30):
            file.write(rng.uniform(-0.5, 0.5, n_samples // 30))
    recording(tmp_path / "short.wav", 20 * RATE)
    long, short = (peak_bytes(model, tmp_path / name) for name in ("long.flac", "short.wav"))
    assert sf.info(tmp_path / "long_est2.wav").frames == n_samples
    assert long < 2e9
    assert long < short + 50e6  # it does not grow with the recording


def test_overwrite_leaves_no_estimate_of_another_model_and_no_input_is_replaced(tmp_path, model):
    recording(tmp_path / "a.wav")
    for name in ("a_est3.wav", "a_estimate.wav", "b_est3.wav", "a_est03.wav"):
        (tmp_path / name).write_text("mine")
    separate.main([str(model), str(tmp_path / "a.wav"), "--overwrite"])
    names = {path.name: path.stat().st_size for path in tmp_path.glob("*_est*")}
    assert {name for name, size in names.items() if size == 4} == {"a_estimate.wav", "b_est3.wav", "a_est03.wav"}
    assert set(names) == {"a_est1.wav", "a_est2.wav", "a_estimate.wav", "b_est3.wav", "a_est03.wav"}
    before = (tmp_path / "a_est2.wav").read_bytes()
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(StabError, match=r"a.wav: its estimates would replace .*a_est2.wav, which is an input too"):
        separate.main([str(model), *(str(tmp_path / x) for x in ("a.wav", "link/a_est2.wav")), "--overwrite"])
    assert (tmp_path / "a_est2.wav").read_bytes() == before


@pytest.mark.parametrize("other", ["a.wav", "a.flac"])
def test_two_processes_do_not_mix_their_estimates(tmp_path, model, capsys, other):
    for name in ("a.wav", "a.flac", "b.wav"):
        recording(tmp_path / name)
    with making(tmp_path / "out/a_est1.wav", "wait"):
        words = [str(model), str(tmp_path / other), str(tmp_path / "b.wav"), "--out", str(tmp_path / "out")]
        assert main.main(["separate", *words]) == 2
        assert f"{other}: {tmp_path / 'out/a_est1.wav'} is being written by another process" in capsys.readouterr().err
        assert {path.name for path in (tmp_path / "out").glob("[!.]*")} == {"b_est1.wav", "b_est2.wav"}
    assert main.main(["separate", str(model), str(tmp_path / other), "--out", str(tmp_path / "out")]) == 0
    assert len(list((tmp_path / "out").iterdir())) == 4


def test_an_output_folder_that_is_a_file_is_named(tmp_path, model, capsys):
    recording(tmp_path / "a.wav")
    (tmp_path / "out").touch()
    assert main.main(["separate", str(model), str(tmp_path / "a.wav"), "--out", str(tmp_path / "out/x")]) == 2
    assert f"cannot write the estimates to {str(tmp_path / 'out/x')!r}: NotADirectoryError" in capsys.readouterr().err


@pytest.fixture
def loud_and_quiet(tmp_path):
    """A run folder whose model gives the mixture at 0, -6 and -40 dB."""
    run = RunLayout(tmp_path / "run")
    net = {"_target_": "own_nets.Levels", "levels_db": [0.0, -40.0, -6.0]}
    run.model.parent.mkdir()
    save_model(hosted(net, n_src=3, sample_rate=RATE), run.model)
    return run


def test_inactive_estimates_are_left_out_where_asked(tmp_path, loud_and_quiet, capsys):
    run = loud_and_quiet
    recording(tmp_path / "a.wav")
    words = ["separate", str(run.root), str(tmp_path / "a.wav"), "--overwrite", "--trust", "own_nets"]
    for level, count in (("-50", 3), ("-20", 2), ("-3.5", 1)):
        assert main.main([*words, "--active-db", level]) == 0
        made = sorted(path.name for path in tmp_path.glob("*_est*"))
        assert made == [f"a_est{number}.wav" for number in range(1, count + 1)]  # older ones are gone
        out = capsys.readouterr().out
        assert f"-> {count} speaker{'s' * (count > 1)} above {level} dB: {tmp_path / 'a_est1.wav'}" in out
    sf.write(tmp_path / "a.wav", np.zeros(9000), RATE)
    assert main.main([*words, "--active-db", "-20"]) == 0
    assert capsys.readouterr().out.endswith("-> no speakers above -20 dB\n")
    assert not list(tmp_path.glob("*_est*"))


def test_a_run_folder_shows_whether_its_levels_mean_anything(tmp_path, loud_and_quiet, capsys):
    run = loud_and_quiet
    recording(tmp_path / "a.wav")
    words = ["separate", str(run.root), str(tmp_path / "a.wav"), "--overwrite", "--trust", "own_nets"]
    notes = {False: "--active-db -26 leaves these out", True: "--active-db judges, may mean nothing"}
    place = "_target_: asteroid_stab"
    plain = f"data: {{{place}.data.ToyCorpus}}\nloader: {{{place}.data.MixtureDataModule}}\n"
    varying = f"system: {{{place}.engine.VariableSourcesSystem, _partial_: true, active_db: -26}}\n"
    for config, asked in ((varying, False), (varying, True), ("", False), ("", True)):
        run.config.write_text(plain + config)
        assert main.main([*words, *(["--active-db", "-20"] if asked else [])]) == 0
        out = capsys.readouterr().out
        assert [notes[key] in out for key in (False, True)] == [bool(config) and not asked, not config and asked]
    files = "data: {_target_: asteroid_stab.data.MixtureFilesCorpus, mics: [1, 0]}\n"
    for channels in ([], ["--channel", "1"]):
        run.config.write_text(files + plain.splitlines()[1])
        assert main.main([*words, *channels]) == 0
        assert ("was trained with data.mics=[1, 0] (counted from 0)" in capsys.readouterr().out) == (not channels)
    run.config.write_text("{")
    assert main.main(words) == 0  # the model is whole
    assert "note: this run" not in capsys.readouterr().out


def test_the_channels_of_the_training_are_taken(tmp_path, model, capsys):
    """A model for one microphone, the third; its file alone knows it, as a hub gives it."""
    save_model(load_model(model), tmp_path / "third.pth", None, MicChoice([2]))
    noise = 0.1 * np.random.default_rng(0).standard_normal((9000, 4))
    sf.write(tmp_path / "four.wav", noise, RATE)
    sf.write(tmp_path / "one.wav", noise[:, 2], RATE)
    words = ["separate", str(tmp_path / "third.pth"), "--overwrite"]
    for name in ("four", "one"):
        assert main.main([*words, str(tmp_path / f"{name}.wav")]) == 0
        assert "note: this model was trained with data.mics=[2] (counted from 0)" in capsys.readouterr().out
    found = [sf.read(tmp_path / f"{name}_est1.wav")[0] for name in ("four", "one")]
    np.testing.assert_allclose(*found, atol=1e-5)
    assert main.main([*words, str(tmp_path / "four.wav"), "--channel", "1"]) == 0
    assert "note" not in capsys.readouterr().out
    assert np.abs(sf.read(tmp_path / "four_est1.wav")[0] - found[0]).max() > 1e-3


@pytest.mark.parametrize("level", ["0", "3", "nan", "loud", ""])
def test_a_level_that_is_none_is_refused(tmp_path, model, capsys, level):
    recording(tmp_path / "a.wav")
    with pytest.raises(SystemExit, match="2"):
        separate.main([str(model), str(tmp_path / "a.wav"), "--active-db", level])
    error = capsys.readouterr().err
    assert f"argument --active-db: must be a number below 0, in dB, got {level!r}" in error
    assert not list(tmp_path.glob("*_est*"))


def test_separate_counts_as_evaluate_does(tmp_path, loud_and_quiet):
    recording(tmp_path / "a.wav")
    mixture = torch.from_numpy(sf.read(tmp_path / "a.wav", dtype="float32")[0])
    estimates = load_model(loud_and_quiet.model, trust=["own_nets"])(mixture[None])[0]
    for level in (-45.0, -39.0, -7.0, -5.0):
        words = [str(loud_and_quiet.model), str(tmp_path / "a.wav"), "--overwrite", "--active-db", str(level)]
        assert separate.main([*words, "--trust", "own_nets"]) == 0
        assert len(list(tmp_path.glob("*_est*"))) == active_estimates(estimates, mixture, level).sum()
