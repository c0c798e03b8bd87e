from __future__ import annotations

import re

import numpy as np
import pytest

from asteroid_stab.report.palette import (
    DASHES,
    ORDERED_COLOURS,
    RUN_COLOURS,
    ordered_key,
    palette,
    run_key,
)
from asteroid_stab.report.plot import Plot

PAGE = {False: "#ffffff", True: "#1b2027"}  # --card in style.css


def luminance(colour: str) -> float:
    """Relative luminance of an sRGB colour (WCAG 2)."""
    channels = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_colours_stand_out_from_the_page(dark):
    variables = palette(dark)
    for name, colour in variables.items():
        wanted = {"--grid": 1.1, "--ink": 7.0, "--soft": 4.5}.get(name, 3.0)
        assert contrast(colour, PAGE[dark]) >= wanted, f"{name} {colour}"


def test_both_palettes_name_the_same_variables():
    assert palette(False).keys() == palette(True).keys()
    assert palette(False) != palette(True)


def test_runs_look_different_until_all_colours_and_dashes_are_used():
    looks = [(key.colour, key.dash) for key in map(run_key, range(len(RUN_COLOURS) * len(DASHES)))]
    assert len(set(looks)) == len(looks) == 18


def test_ordered_things_run_through_the_palette():
    n = len(ORDERED_COLOURS)
    assert [ordered_key(i, n).colour for i in range(n)] == [f"var(--o{i})" for i in range(n)]
    assert ordered_key(0, 1).colour == "var(--o0)"
    steps = [int(ordered_key(i, 20).colour[7:-1]) for i in range(20)]
    assert steps == sorted(steps)
    assert (steps[0], steps[-1]) == (0, n - 1)


def drawn(name: str = "figure") -> str:
    plot = Plot(name, "epoch", "SI-SDRi (dB)", alt="<rises> & falls")
    plot.line([0, 1, 2], [1.0, 3.0, 2.0], run_key(0), tips=["first", "<b>second</b>", "third"])
    plot.line(np.arange(100), np.sin(np.arange(100)), run_key(7), tips=[str(i) for i in range(100)])
    plot.steps([1, 3, 2], [0, 1, 2, 3], run_key(1))
    plot.upright(1.5, run_key(1))
    plot.scatter([0.5], [0.5], run_key(2))
    return str(plot.svg())


@pytest.fixture(scope="module")
def svg():
    return drawn()


def test_a_figure_takes_colours_and_fonts_from_the_page(svg):
    assert {"var(--ink)", "var(--soft)", "var(--grid)", "var(--c0)", "var(--c1)", "var(--c2)"} <= set(
        re.findall(r"var\(--\w+\)", svg)
    )
    colours = set(re.findall("#[0-9a-f]{6}\\b", svg))
    assert not colours, "a colour that does not follow the page"
    assert "font-family" not in svg
    assert "<style" not in svg
    assert "epoch</text>" in svg


def test_tips_are_at_their_points(svg):
    assert svg.count("<title>") == 103
    assert "<title>&lt;b&gt;second&lt;/b&gt;</title>" in svg
    heights = [float(y) for y in re.findall(r'y="([\d.]+)"[^>]*><title>(?:first|&lt;b|third)', svg)]
    assert heights[1] < heights[2] < heights[0]  # values 3, 2, 1; SVG counts from the top


def test_the_description_is_escaped(svg):
    assert 'aria-label="&lt;rises&gt; &amp; falls"' in svg


def test_two_figures_share_no_ids_and_the_same_figure_is_the_same(svg):
    again, other = drawn(), drawn("another")
    assert again == svg
    ids = [set(re.findall(r'id="([^"]+)"', text)) for text in (svg, other)]
    assert ids[0]
    assert not ids[0] & ids[1]


def test_ticks_of_epochs_are_whole_numbers():
    plot = Plot("short", "epoch", "loss", alt="")
    plot.line([0, 1], [1.0, 0.5], run_key(0))
    plot.whole_numbers()
    assert all(tick == int(tick) for tick in plot.axes.get_xticks())


def test_a_number_of_tips_that_is_not_that_of_the_points_is_a_defect():
    plot = Plot("wrong", "x", "y", alt="")
    plot.line([0, 1], [0, 1], run_key(0), tips=["only one"])
    with pytest.raises(AssertionError, match="1 tips for 2 marks"):
        plot.svg()


def test_a_label_may_have_any_name():
    plot = Plot("any", "$x^$", "a\x01\ud800", alt="")
    plot.line([0, 1], [0, 1], run_key(0))
    plot.below("\x1b[2J")
    svg = plot.svg()
    for text in ("$x^$", r"a\x01\ud800", r"\x1b[2J"):
        assert text in svg
