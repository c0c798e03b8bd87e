"""Differences of rows from a baseline: what is paired with what."""

import json

import numpy as np
import pandas as pd
import pytest

from asteroid_stab.errors import StabError
from asteroid_stab.metrics.paired import paired_difference
from asteroid_stab.report.run_data import read_runs
from asteroid_stab.run.study_differences import beside_oracles, difference_table, differences
from asteroid_stab.run.study_items import unlike_rows

NAMES = [f"mix-{i}" for i in range(6)]


@pytest.fixture
def study(tmp_path):
    """Makes evaluated runs, and reads the rows that there are."""

    def evaluated(row, seed, scores, names=NAMES, config="data: {n_src: 2}\n", before=0.0, **entries):
        run = tmp_path / row / str(seed)
        oracle = f"_oracle_{entries['oracle']}" if entries else ""
        place = run / "evaluation" / f"test{oracle}"
        place.mkdir(parents=True)
        (run / "config.yaml").write_text(f"recipe: x/y\n{config}")
        summary = {"metrics": {"si_sdr_i": {"mean": 1.0}}, "failures": {}, "command": "c", **entries}
        (place / "summary.json").write_text(json.dumps(summary))
        table = pd.DataFrame({"name": names, "si_sdr_i": scores, "input_si_sdr": before})
        table.to_csv(place / "utterances.csv", index=False)

    def rows(*names):
        return {name: read_runs(sorted((tmp_path / name).iterdir())) for name in names}

    return evaluated, rows


def scores(seed, n=6):
    return np.random.default_rng(seed).normal(size=n).round(3)


def test_seeds_are_paired_by_name_and_mixtures_by_place(study):
    evaluated, rows = study
    for seed in (1, 2, 3):
        evaluated("pit", seed, scores(seed))
    for seed in (4, 3, 2):
        evaluated("dsd", seed, scores(10 + seed))
    [(row, first, found)] = differences(rows("pit", "dsd"))
    assert (row, first) == ("dsd", "pit")
    assert found == paired_difference(np.stack([scores(12) - scores(2), scores(13) - scores(3)]))
    [(row, first, other)] = differences(rows("pit", "dsd"), "dsd")
    assert (row, first, other.mean, other.half) == ("pit", "dsd", -found.mean, pytest.approx(found.half))


def test_a_mixture_without_a_score_is_left_out_of_all_seeds(study):
    evaluated, rows = study
    for seed in (1, 2):
        evaluated("pit", seed, scores(seed))
    evaluated("dsd", 1, [np.nan, *scores(11)[1:]])
    evaluated("dsd", 2, scores(12))
    [(_, _, found)] = differences(rows("pit", "dsd"))
    assert found == paired_difference(np.stack([scores(11) - scores(1), scores(12) - scores(2)])[:, 1:])


def test_rows_are_compared_with_the_first_of_their_kind(study):
    """Other mixtures, another number of sources: another baseline; a pretext task has no score."""
    evaluated, rows = study
    evaluated("pit", 1, scores(1))
    evaluated("enh", 1, scores(2), config="data: {n_src: 1}\n")
    evaluated("se", 1, scores(3), config="data: {n_src: 2}\npretext: {a: b}\n")
    evaluated("other", 1, scores(4)[:3], NAMES[:3])
    evaluated("enh_lo", 1, scores(5), config="data: {n_src: 1}\n")
    evaluated("dsd", 1, scores(6))
    found = differences(rows("pit", "enh", "se", "other", "enh_lo", "dsd"))
    assert [(row, first) for row, first, _ in found] == [("dsd", "pit"), ("enh_lo", "enh")]
    assert [row for row, _, _ in differences(rows("pit", "enh", "enh_lo", "dsd"), "enh_lo")] == ["enh"]
    assert differences(rows("pit", "other")) == []


def test_mixtures_of_the_same_names_in_another_room_are_others(study):
    """Told by the SI-SDR of the mixtures as they are; round-off and what could not be measured make no difference."""
    evaluated, rows = study
    before = np.array([-1.2, 0.5, 3.0, -0.25, 140.0, 0.0])
    evaluated("pit", 1, scores(1), before=before)
    evaluated("same", 1, scores(2), before=[*(before[:4] + 1e-5), np.inf, np.nan])
    evaluated("wet", 1, scores(3), before=[*before[:5], 0.0043])  # white noise 30 dB below two speakers
    evaluated("wet_lo", 1, scores(4), before=[*before[:5], 0.0043])
    read = rows("pit", "same", "wet", "wet_lo")
    assert [(row, first) for row, first, _ in differences(read)] == [("same", "pit"), ("wet_lo", "wet")]
    unlike, lines = unlike_rows(read)
    assert (unlike, lines) == (
        set(),
        [
            "",
            "note: these rows cannot be compared, they were evaluated on different mixtures: pit, same on 6; wet, "
            "wet_lo on 6 of the same names with other signals, as in another room or noise",
        ],
    )


def test_seeds_on_other_signals_have_no_mean(study):
    evaluated, rows = study
    evaluated("pit", 1, scores(1))
    evaluated("pit", 2, scores(2), before=0.1)
    unlike, lines = unlike_rows(rows("pit"))
    assert unlike == {"pit"}
    assert (
        "pit has no mean: its runs were evaluated on different mixtures (pit/1 on 6, pit/2 on 6 of the same names with "
        "other signals" in lines[1]
    )


def test_a_beamformer_of_one_run_stands_beside_all_on_its_mixtures(study):
    evaluated, rows = study
    for seed in (1, 2):
        evaluated("pit", seed, scores(seed))
        evaluated("dsd", seed, scores(10 + seed))
    evaluated("wet", 1, scores(3), before=1.0)
    evaluated("dsd", 2, scores(20), oracle="mvdr", n_mics=4)
    evaluated("pit", 1, scores(20), oracle="mvdr", n_mics=4)  # the same again
    evaluated("pit", 2, scores(21), oracle="mvdr", n_mics=2)
    evaluated("wet", 1, scores(22), before=2.0, oracle="delay_and_sum", n_mics=2)  # on signals that no run has
    oracles, found = beside_oracles(rows("pit", "dsd", "wet"))
    labels = ["oracle MVDR, 4 microphones", "oracle MVDR, 2 microphones"]
    assert [one.of for one in oracles] == labels
    assert [(row, label) for row, label, _ in found] == [(row, label) for label in labels for row in ("pit", "dsd")]
    wanted = paired_difference(np.stack([scores(11) - scores(20), scores(12) - scores(20)]))
    assert found[1][2] == wanted
    assert beside_oracles(rows("wet")) == ([], [])


def test_rows_without_a_seed_or_a_mixture_in_common_have_no_difference(study):
    evaluated, rows = study
    evaluated("pit", 1, scores(1))
    evaluated("dsd", 2, scores(2))
    evaluated("lo", 1, [np.nan] * 6)
    assert differences(rows("pit", "dsd", "lo")) == []


def test_a_baseline_that_is_none_is_named(study):
    evaluated, rows = study
    evaluated("pit", 1, scores(1))
    evaluated("se", 1, scores(3), config="pretext: {a: b}\n")
    with pytest.raises(StabError, match=r"the study has no row 'pitt' \(did you mean 'pit'\?\)"):
        differences(rows("pit", "se"), "pitt")
    with pytest.raises(StabError, match="no run of row 'se' was evaluated"):
        differences(rows("pit", "se"), "se")


def test_the_table_has_a_verdict(study):
    evaluated, rows = study
    for seed in (1, 2, 3):
        evaluated("pit", seed, scores(seed))
        evaluated("dsd", seed, scores(seed) + 0.5)
    head, row = difference_table(differences(rows("pit", "dsd")), "valid")
    assert (head[-2], len(head)) == ("difference of valid SI-SDRi, dB", len(row))
    assert row == ["dsd", "pit", "3", "6", "+0.50", "better by 0.50 ± 0.00 dB"]
