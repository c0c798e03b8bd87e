"""Formulas as MathML."""

from types import SimpleNamespace

import pytest

pytestmark = pytest.mark.docs


@pytest.mark.parametrize(
    ("name", "wanted"), [("inline", "<math xmlns"), ("block", '<div class="math"><math xmlns')], ids=["inline", "block"]
)
def test_a_formula_is_drawn_by_the_browser_itself(name, wanted):
    from docutils import nodes

    from docs import mathml

    writer = SimpleNamespace(body=[])
    node = nodes.math if name == "inline" else nodes.math_block
    with pytest.raises(nodes.SkipNode):
        getattr(mathml, name)(writer, node("", r"\frac{1}{J} \sum_j C_{\pi(j)\,j}"))
    (text,) = writer.body
    assert text.startswith(wanted)
    assert "<mfrac>" in text
    assert "\\frac" not in text
