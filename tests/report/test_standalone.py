"""Pictures as files of their own."""

from xml.etree import ElementTree

import numpy as np
import pytest

from asteroid_stab.report.palette import run_key
from asteroid_stab.report.parts import Figure
from asteroid_stab.report.plot import Plot
from asteroid_stab.report.standalone import HEAD, standalone

SVG = "{http://www.w3.org/2000/svg}"


def figure(name, title):
    plot = Plot(name, "epoch", "dB", alt=f"A line of {title}.")
    plot.line(np.arange(3), np.arange(3), run_key(1))
    plot.label(2.0, 2.0, "end & <more>", run_key(1))
    return Figure(plot.svg(), title, plot.alt)


def test_figures_stand_beside_each_other():
    text = standalone([figure("a", "One & two"), figure("b", "Three")])
    root = ElementTree.fromstring(text)
    first, second = root.findall(SVG + "svg")
    assert float(second.get("x")) > float(first.get("x")) + float(first.get("width"))
    assert float(root.get("width")) == pytest.approx(float(second.get("x")) + float(second.get("width")))
    assert float(root.get("height")) == pytest.approx(HEAD + float(first.get("height")))
    assert [head.text for head in root.findall(SVG + "text")] == ["One & two", "Three"]
    assert root.find(SVG + "title").text == "A line of One & two. A line of Three."
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids))


def test_it_is_read_on_light_and_dark_pages_and_loads_nothing():
    text = standalone([figure("a", "One")])
    assert "--c1: #c94f00;" in text
    assert "@media (prefers-color-scheme: dark) { :root {" in text
    assert "--c1: #ff9a52;" in text
    assert "var(--c1)" in text
    assert text.count("http") == 1  # the name space
    assert "end &amp; &lt;more&gt;" in text


def test_nothing_is_no_picture():
    with pytest.raises(ValueError, match="figures must hold at least one figure, got none"):
        standalone([])
