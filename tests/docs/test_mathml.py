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


@pytest.mark.parametrize(
    ("formula", "has", "has_not"),
    [
        (r"\hat{s}_1", ("<msub><mover", "</mover>", "<mn>1</mn></msub>"), "munderover"),
        (r"\bar w_{ij}^2", ("<msup><msub><mover", "<mn>2</mn></msup>"), "munderover"),
        (r"\hat{s}_1\quad a < b", ("<msub><mover", "<mo>&lt;</mo>"), "&nbsp;"),
        (r"\sum_{i=1}^n x_i", ("<munderover", "<msub><mi>x</mi><mi>i</mi></msub>"), "accent"),
    ],
)
def test_an_index_stands_beside_a_letter_with_an_accent(formula, has, has_not):
    """Under it only the limits of a sum stand."""
    from docs.mathml import converted

    text = "".join(line.strip() for line in converted(formula).splitlines())
    assert all(part in text for part in has)
    assert has_not not in text
