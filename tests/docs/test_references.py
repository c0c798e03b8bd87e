"""What a name in a docstring means."""

import pytest

pytestmark = pytest.mark.docs


def test_scopes_are_searched_from_the_nearest():
    from docs.references import candidates

    assert candidates("merge", "a.b", "C") == ["a.b.C.merge", "a.b.merge", "merge", "builtins.merge"]
    assert candidates("x", "", "") == ["x", "builtins.x"]


def test_a_name_leads_to_its_own_module():
    from docs.references import canonical, located

    name = "asteroid_stab.losses.ExactPITLossWrapper"
    assert canonical(located(name), name) == "asteroid_stab.losses.pit_wrapper.ExactPITLossWrapper"
    assert located("asteroid_stab.metrics.names.METRICS")["stoi"].label == "STOI"


@pytest.mark.parametrize("name", ["asteroid_stab.losses.NoSuchLoss", "no_such_package.x", "ValueErrors"])
def test_a_name_that_means_nothing_is_refused(name):
    from docs.references import located

    with pytest.raises(LookupError, match=name):
        located(name)


def test_all_rooms_have_a_page():
    from docs.references import exported, rooms

    assert {"losses", "stabilizers", "models", "data", "integrations"} <= {*rooms()}
    assert not {"conf", "recipes"} & {*rooms()}
    assert "Stabilization" in exported("stabilizers")


def test_roles_of_a_docstring_get_full_names():
    from docs.references import qualified

    text = "see :meth:`logits`, :class:`Step`, :class:`~asteroid_stab.losses.Assignment` and :class:`torch.Tensor`"
    base = "asteroid_stab.stabilizers.base"
    assert qualified(text, base, "Stabilizer") == (
        f"see :meth:`~{base}.Stabilizer.logits`, :class:`~{base}.Step`, :class:`~asteroid_stab.losses.Assignment` and "
        ":class:`torch.Tensor`"
    )
    assert qualified(":func:`no_such`", base) == ":func:`no_such`"


def test_words_of_another_package_are_left_out():
    from asteroid_stab.losses import PairwiseNegInactiveSNR
    from asteroid_stab.stabilizers import LossThreshold
    from docs.references import own_words

    of_torch, of_base, of_value = ["torch's"], ["the base's"], ["Counts: of items."]
    name = "asteroid_stab.losses.inactive.PairwiseNegInactiveSNR.forward"
    own_words(None, "method", name, PairwiseNegInactiveSNR.forward, None, of_torch)
    name = "asteroid_stab.stabilizers.loss_threshold.LossThreshold.begin_epoch"
    own_words(None, "method", name, LossThreshold.begin_epoch, None, of_base)
    own_words(None, "data", "asteroid_stab.metrics.names.COUNTS", (), None, of_value)
    assert (of_torch, of_base, of_value) == ([], ["the base's"], ["..", "", "Counts: of items."])
