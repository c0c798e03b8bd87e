import json

import numpy as np
import pytest
import soundfile as sf

from asteroid_stab.errors import StabError
from asteroid_stab.metrics.measured import Measured
from asteroid_stab.metrics.names import STANDARD
from asteroid_stab.metrics.separation_metrics import measure
from bench import evaluate as bench_evaluate
from bench.evaluate import GROUPS, differences, make_items, timed
from bench.speech_samples import speech_like, spoken_sources, synthetic_sources


def test_synthetic_speech_is_speech_to_pesq():
    signal = speech_like(np.random.default_rng(0), 16_000, 8000)
    measured = measure(signal, signal[None], 0.5 * signal[None] + 0.001, 8000, ["pesq"])
    assert measured.failures == {}
    assert measured.values["pesq"] > 3


def test_synthetic_sources_are_the_same_every_time():
    first, again = (synthetic_sources(3, 2, 8000) for _ in range(2))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.shape[0] == 2
        assert 3 * 8000 <= a.shape[1] <= 8 * 8000


def test_spoken_sources(tmp_path):
    for speaker in ("11", "22", "33"):
        (tmp_path / speaker / "1").mkdir(parents=True)
        signal = float(speaker) / 100 * np.random.default_rng(int(speaker)).uniform(-1, 1, 3200 + 160 * int(speaker))
        sf.write(tmp_path / speaker / "1" / "a.flac", signal, 16_000)
    for sources in spoken_sources(tmp_path, 4, 3, 8000):
        assert sources.shape == (3, 2480)  # the shortest, at half the rate
        assert len({tuple(x) for x in sources.round(6)}) == 3
        np.testing.assert_allclose(sources.std(axis=1), 0.05, rtol=1e-6)
    with pytest.raises(StabError, match="of 4 speakers, got 3"):
        spoken_sources(tmp_path, 1, 4, 8000)


def test_estimates_are_separated_in_any_order():
    items = make_items(synthetic_sources(6, 3, 8000))
    perms = set()
    for item in items:
        np.testing.assert_allclose(item.mixture, item.sources.sum(0))
        measured = measure(*item[1:4], 8000, ["si_sdr"])
        perms.add(tuple(measured.perm))
        assert 10 < measured.values["si_sdr"] < 20
    assert len(perms) > 1


def test_differences_end_at_100_db():
    theirs = [{"sdr": 10.0, "sar": 280.0}, {"sdr": 12.0, "sar": 101.0}]
    ours = {i: Measured({"sdr": 11.0, "sar": 99.5}, np.arange(2)) for i in range(2)}
    assert differences(theirs, ours) == {"sdr": 1.0, "sar": 0.5}


def test_timed():
    wall, cpu, result = timed(max, 2, 3)
    assert result == 3
    assert 0 <= cpu <= wall + 0.1


def test_groups_hold_all_metrics():
    assert GROUPS["all"] == list(STANDARD)
    assert [m for label, group in GROUPS.items() if label != "all" for m in group] == list(STANDARD)


def test_options_that_cannot_be(tmp_path):
    for argv, message in [
        (["--n-src", "10"], "at most 9, .* got 10"),
        (["--librispeech", str(tmp_path / "no")], "must be a folder, got .*no"),
        (["--json", str(tmp_path / "no" / "a.json")], "in a folder that exists, got .*a.json"),
    ]:
        with pytest.raises(StabError, match=message):
            bench_evaluate.BENCH.main(argv)
    with pytest.raises(SystemExit):
        bench_evaluate.BENCH.main(["--sample-rate", "11025"])


@pytest.mark.bench
def test_five_times_faster_on_two_cores(tmp_path, capsys):
    file = tmp_path / "bench.json"
    assert bench_evaluate.BENCH.main(["--n-mixtures", "6", "--rounds", "1", "--n-jobs", "2", "--json", str(file)]) == 0
    assert "SDR, SIR, SAR" in capsys.readouterr().out
    result = json.loads(file.read_text())
    assert max(result["all"]["differences"].values()) < 0.01
    # On CPU time, which other load hardly touches: twice the ratio of one core is what two free cores do.
    every = next(row for row in result["groups"] if row["metrics"] == "all")
    assert 2 * every["asteroid_s"] / every["ours_s"] > 5
