"""Keys of ``conf/``, read line by line with their comments, and what docstrings say of them."""

import pytest

pytestmark = pytest.mark.docs

FILE = """\
# What it is, with a `command`
# in two lines.
_target_: asteroid_stab.losses.HysteresisPITLossWrapper
margin_db: 0.0    # dB for a_b
memory: last      # or best:
                  # the lowest
loss_func:
  _target_: asteroid.losses.PairwiseNegSDR
  sdr_type: sisdr
"""


def test_keys_have_values_and_comments():
    from docs.config_keys import Key, keys_of

    assert keys_of(FILE) == [
        Key("margin_db", "0.0", "dB for a_b"),
        Key("memory", "last", "or best: the lowest"),
        Key("loss_func.sdr_type", "sisdr", ""),
    ]


def test_a_key_in_another_style_is_refused():
    from docs.config_keys import keys_of

    with pytest.raises(ValueError, match=r"not found line by line: \['b-c'\]"):
        keys_of("a: 1\nb-c: 2\n")


def test_a_row_has_the_docstring_or_the_comment(tmp_path):
    from docs.config_keys import head, rows

    file = tmp_path / "x.yaml"
    file.write_text(FILE)
    assert head(file) == "What it is, with a ``command`` in two lines."
    found = {name: (default, meaning) for name, default, meaning in rows(file, "loss")}
    default, meaning = found["loss.margin_db"]
    assert default == "0.0"
    assert "lower" not in meaning
    assert meaning.startswith("λ")
    assert found["loss.loss_func.sdr_type"] == ("sisdr", "argument of ``asteroid.losses.PairwiseNegSDR``")


def test_arguments_of_a_base_class_have_a_meaning():
    from docs.config_keys import meanings

    assert "dB" in meanings("asteroid_stab.losses.HysteresisPITLossWrapper")["margin_db"]
    assert meanings("asteroid_stab.models.conv_tasnet")["n_filters"] == "filters of the encoder."
    assert meanings("torch.optim.Adam") == {}


def test_an_option_builds_what_the_options_it_begins_with_build():
    from pathlib import Path

    from docs.config_keys import built_by, rows

    conf = Path(__file__).resolve().parents[2] / "conf"
    assert built_by(conf / "data" / "noisy.yaml") == {
        "base": "asteroid_stab.data.ToyCorpus",
        "": "asteroid_stab.data.NoisyCorpus",
    }
    found = {name: meaning for name, _, meaning in rows(conf / "loss" / "attn_hun.yaml", "loss")}
    assert found["loss.first_epoch.pit"].startswith("first epoch of each phase")
    of_plain = {name: meaning for name, _, meaning in rows(conf / "head" / "plain.yaml", "head")}
    assert of_plain["head.loss"] == "One output: the last layer's."
