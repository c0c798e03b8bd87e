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
