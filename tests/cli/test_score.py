import json
import shutil

import numpy as np
import pytest
import soundfile

from asteroid_stab.cli import score
from asteroid_stab.cli.main import main
from asteroid_stab.errors import StabError
from asteroid_stab.metrics.separation_metrics import measure
from asteroid_stab.metrics.tables import SOURCE_COLUMNS
from bench.speech_samples import speech_like

RATE = 8000
QUICK = ["--metrics", "si_sdr", "--n-jobs", "1"]


def write(path, signal, rate=RATE):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, signal, rate, subtype="DOUBLE")


class HerePool:
    """Measures in this process, without the time that others take to start."""

    def __init__(self, sample_rate, metrics, n_jobs):
        self.sample_rate, self.metrics = sample_rate, metrics

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def run(self, items):
        for item in items:
            yield item.key, measure(*item[1:4], self.sample_rate, self.metrics)


@pytest.fixture(autouse=True)
def _here(monkeypatch, request):
    if "in_processes" not in request.node.name:
        monkeypatch.setattr("asteroid_stab.metrics.pool.MetricPool", HerePool)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """References of three sources with their mixtures, and estimates whose order goes round."""
    root = tmp_path_factory.mktemp("made")
    rng = np.random.default_rng(0)
    lines = ["mixture_path,source_1_path,source_2_path,source_3_path"]
    for name in ("a", "b"):
        sources = np.stack([speech_like(rng, 6000, RATE) for _ in range(3)])
        write(root / f"ref/mix/{name}.wav", sources.sum(0))
        for j in range(3):
            write(root / f"ref/s{j + 1}/{name}.wav", sources[j])
            write(root / f"est/{name}_est{(j + 1) % 3 + 1}.wav", sources[j] + 0.01 * rng.standard_normal(6000))
        lines.append(f"mix/{name}.wav,s1/{name}.wav,s2/{name}.wav,s3/{name}.wav")
    (root / "ref/list.csv").write_text("\n".join(lines))
    return root


@pytest.fixture
def folder(made, tmp_path):
    shutil.copytree(made, tmp_path / "made")
    return tmp_path / "made"


def reference(root, name):
    def read(path):
        return soundfile.read(root / path)[0]

    sources = np.stack([read(f"ref/s{j}/{name}.wav") for j in (1, 2, 3)])
    estimates = np.stack([read(f"est/{name}_est{j}.wav") for j in (1, 2, 3)])
    return measure(read(f"ref/mix/{name}.wav"), sources, estimates, RATE, ["si_sdr"]).values


def test_scores_are_the_metrics_of_each_mixture(made, tmp_path, capsys):
    out = tmp_path / "scores"
    assert score.main([str(made / "est"), str(made / "ref"), "--out", str(out), *QUICK]) == 0
    summary = json.loads((out / "summary.json").read_text())
    rows = [line.split(",") for line in (out / "utterances.csv").read_text().splitlines()]
    assert [row[1] for row in rows] == ["name", "a", "b"]
    for row, name in zip(rows[1:], "ab", strict=True):
        found = {key: float(value) for key, value in zip(rows[0][3:], row[3:], strict=True) if value}
        wanted = reference(made, name)
        assert {*found} >= {*SOURCE_COLUMNS}
        assert all(found[key] == pytest.approx(wanted[key], abs=2e-3) for key in SOURCE_COLUMNS)
    mean = summary["metrics"]["si_sdr_i"]["mean"]
    assert f"\nscore SI-SDRi: {mean:.2f} dB (n = 2)\n" in capsys.readouterr().out


def test_a_table_in_processes_gives_the_same(made, capsys):
    for place in ("ref/list.csv", "ref"):
        assert score.main([str(made / "est"), str(made / place), "--metrics", "stoi", "--n-jobs", "1"]) == 0
    found = capsys.readouterr().out
    table, folder = found.split("SI-SDRi: ")[1:]
    assert table.split(" dB")[0] == folder.split(" dB")[0]


def test_without_mixtures_there_are_no_improvements(folder, capsys):
    shutil.rmtree(folder / "ref/mix")
    out = folder / "scores"
    assert score.main([str(folder / "est"), str(folder / "ref"), "--out", str(out), *QUICK]) == 0
    shown = capsys.readouterr().out
    assert "note: improvements are left out: there are no mixtures" in shown
    assert "\nscore SI-SDR: " in shown
    assert "SI-SDRi" not in shown
    assert [*json.loads((out / "summary.json").read_text())["metrics"]] == ["si_sdr"]


def test_words_are_counted_of_estimates_that_are_there(made, tmp_path, capsys, monkeypatch):
    pytest.importorskip("meeteval")
    heard = []
    monkeypatch.setattr("bench.speech_samples.hear", lambda x, rate: heard.append(rate) or "a", raising=False)
    table = tmp_path / "said.csv"
    table.write_text("name,source_1,source_2,source_3\na,a,a,a b\nb,a,,a\n")
    words = ["--recogniser", "bench.speech_samples.hear", "--transcripts", str(table)]
    score.main([str(made / "est"), str(made / "ref"), *words, "--out", str(tmp_path / "out"), *QUICK])
    assert "WER 33.3 %, cpWER 33.3 % of all 6 words\n" in capsys.readouterr().out
    assert heard == [RATE] * 7  # on noise first
    assert json.loads((tmp_path / "out/summary.json").read_text())["recogniser"] == "bench.speech_samples.hear"


def test_the_first_mixtures_are_said_to_be_of_all(made, capsys):
    score.main([str(made / "est"), str(made / "ref"), "--limit", "1", *QUICK])
    assert "score: first 1 of 2 mixtures, percentiles" in capsys.readouterr().out


def test_a_channel_of_files_with_several_is_taken(made, tmp_path, capsys):
    """References and mixtures of two channels, of which the second is the wanted one; estimates of one or of two."""
    rng = np.random.default_rng(1)
    for file in (made / "ref").rglob("*.wav"):
        signal, _ = soundfile.read(file)
        write(tmp_path / "ref" / file.relative_to(made / "ref"), np.stack([rng.standard_normal(6000), signal], 1))
    argv = [str(made / "est"), str(tmp_path / "ref"), *QUICK]
    assert main(["score", *argv]) == 2
    assert "has 2 channels instead of 1, " in (said := capsys.readouterr().err)
    assert said.endswith("; --channel N takes one, from 1\n")
    score.main([*argv, "--channel", "2"])
    taken = capsys.readouterr().out.splitlines()[-1]
    score.main([str(made / "est"), str(made / "ref"), *QUICK])
    assert capsys.readouterr().out.splitlines()[-1] == taken
    for name in ("a", "b"):
        for j in (1, 2, 3):
            signal, _ = soundfile.read(made / f"est/{name}_est{j}.wav")
            noise = rng.standard_normal(6000)
            write(tmp_path / f"est/{name}_est{j}.wav", np.stack([noise, signal], 1) if j > 1 else signal)
    assert main(["score", str(tmp_path / "est"), str(tmp_path / "ref"), "--channel", "2", *QUICK]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == taken
    assert main(["score", *argv, "--channel", "3"]) == 2
    assert "--channel must be one of the files' channels, from 1, got 3" in capsys.readouterr().err
    shutil.copytree(tmp_path / "est", tmp_path / "wide")
    for file in (tmp_path / "ref").rglob("*.wav"):
        signal, _ = soundfile.read(file)
        write(tmp_path / "wide_ref" / file.relative_to(tmp_path / "ref"), signal[:, [0, 0, 1]])
    assert main(["score", str(tmp_path / "wide"), str(tmp_path / "wide_ref"), "--channel", "3", *QUICK]) == 2
    assert "--channel must be at most 2, the channels of estimate 2, got 3" in capsys.readouterr().err
    assert main(["score", str(tmp_path / "est"), str(made / "ref"), "--channel", "2", *QUICK]) == 2
    assert "--channel must be one of the files' channels, from 1, got 2" in capsys.readouterr().err


def test_estimates_alone_are_counted(folder, capsys):
    (folder / "est/a_est1.wav").unlink()
    assert main(["score", str(folder / "est"), str(folder / "ref"), *QUICK]) == 2
    assert "1 of the 6 files of " in capsys.readouterr().err


def test_one_source_is_one(folder, capsys):
    for j in (2, 3):
        shutil.rmtree(folder / f"ref/s{j}")
    assert main(["score", str(folder / "est"), str(folder / "ref"), *QUICK]) == 2
    assert "has more estimates than the 1 source: " in capsys.readouterr().err


def test_one_file_is_scored(made, capsys):
    files = [str(made / "est/a_est2.wav"), str(made / "ref/s1/a.wav")]
    assert score.main([*files, "--mixture-path", str(made / "ref/mix/a.wav"), *QUICK]) == 0
    assert "score SI-SDRi: " in capsys.readouterr().out
    with pytest.raises(StabError, match="the estimate of the file .*a.wav must be a file, got "):
        score.main([str(made / "est"), files[1], *QUICK])


def test_rules_name_the_files(folder, capsys):
    for j in (1, 2, 3):
        (folder / f"est/{j}").mkdir()
        for name in "ab":
            (folder / f"est/{name}_est{j}.wav").rename(folder / f"est/{j}/{name}.wav")
    write(folder / "est/1/c.wav", np.zeros(10))
    assert score.main([str(folder / "est"), str(folder / "ref"), "--estimate-path", "{j}/{name}.wav", *QUICK]) == 0
    shown = capsys.readouterr().out
    assert "note: estimates without a reference are left out: c (1)" in shown
    assert "(n = 2)" in shown
    with pytest.raises(
        StabError, match=r"--estimate-path must have \{j\}, since there are 3 sources, got '\{name\}.wav'"
    ):
        score.main([str(folder / "est"), str(folder / "ref"), "--estimate-path", "{name}.wav"])
    with pytest.raises(StabError, match=r"--source-path must be a path with \{name\}"):
        score.main([str(folder / "est"), str(folder / "ref"), "--source-path", "x.wav"])


def test_estimates_that_do_not_fit_are_named(folder, capsys):
    argv = ["score", str(folder / "est"), str(folder / "ref"), *QUICK]
    (folder / "est/a_est1.wav").unlink()
    write(folder / "est/b_est1.wav", np.zeros(100))
    write(folder / "est/b_est2.wav", np.zeros(12_000), 16_000)
    assert main(argv) == 2
    shown = capsys.readouterr().err
    assert "3 of the 6 files of" in shown
    assert (
        "a_est1.wav is missing, b_est1.wav has 100 samples, its reference 6000, b_est2.wav is sampled at 16000" in shown
    )
    write(folder / "est/b_est4.wav", np.zeros(6000))
    with pytest.raises(StabError, match="has more estimates than the 3 sources: .*b_est4.wav"):
        score.main(argv[1:])
    with pytest.raises(StabError, match="the estimates of .*ref must be in a folder, got '.*none'"):
        score.main([str(folder / "none"), str(folder / "ref")])
    with pytest.raises(StabError, match="there are no references '.*none'"):
        score.main([str(folder / "est"), str(folder / "none")])


@pytest.mark.parametrize(
    ("references", "rule", "message"),
    [
        (
            "ref/list.csv",
            ["--mixture-path", "m/{name}.wav"],
            "--mixture-path must be left out: .*list.csv names its files",
        ),
        (
            "ref/list.csv",
            ["--source-path", "s{j}/{name}.wav"],
            "--source-path must be left out: .*list.csv names its files",
        ),
        ("ref", ["--source-path", "src{j}/{name}.wav"], "ref has no references src{j}/{name}.wav: --source-path gives"),
        ("ref", ["--source-path", "{name}.wav"], "ref has no references {name}.wav: --source-path gives"),
        ("ref", ["--mixture-path", "mix/{name}_{j}.wav"], "--mixture-path must be .*mix/{name}.wav, got {j} in"),
    ],
)
def test_a_rule_that_names_nothing_is_refused(made, references, rule, message):
    with pytest.raises(StabError, match=message.replace("{", r"\{").replace("}", r"\}")):
        score.main([str(made / "est"), str(made / references), *rule, *QUICK])


def test_a_rule_beside_one_file_is_refused(made):
    files = [str(made / "est/a_est2.wav"), str(made / "ref/s1/a.wav")]
    with pytest.raises(StabError, match="--estimate-path must be left out: the references are one file"):
        score.main([*files, "--estimate-path", "{name}.wav"])


def test_an_evaluation_is_not_overwritten_unasked(made, tmp_path):
    argv = [str(made / "est"), str(made / "ref"), "--out", str(tmp_path / "out"), *QUICK]
    score.main(argv)
    with pytest.raises(StabError, match="out holds an evaluation already; --overwrite replaces it"):
        score.main(argv)
    score.main([*argv, "--limit", "1", "--overwrite"])
    assert json.loads((tmp_path / "out/summary.json").read_text())["n"] == 1
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes").touch()
    with pytest.raises(StabError, match="--out must be a new folder or one of an evaluation"):
        score.main([*argv[:2], "--out", str(tmp_path / "mine")])


def test_an_unknown_metric_is_named(made, capsys):
    with pytest.raises(SystemExit):
        score.main([str(made / "est"), str(made / "ref"), "--metrics", "si_snr"])
    assert "--metrics: must be some of si_sdr, " in capsys.readouterr().err


def test_a_full_disk_is_named(made, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("asteroid_stab.metrics.tables.write_text", full)
    with pytest.raises(StabError, match="cannot write to '.*out': No space left on device"):
        score.main([str(made / "est"), str(made / "ref"), "--out", str(tmp_path / "out"), *QUICK])
    assert not (tmp_path / "out").exists()


def test_a_number_of_processes_beyond_reason_is_refused(made, capsys):
    with pytest.raises(SystemExit):
        score.main([str(made / "est"), str(made / "ref"), "--n-jobs", "100000"])
    assert "argument --n-jobs: must be at most" in capsys.readouterr().err
