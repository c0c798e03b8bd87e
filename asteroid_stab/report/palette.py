"""The colours of the figures: CSS variables of the page, and their stand-ins in matplotlib."""

from __future__ import annotations

from asteroid_stab.report.parts import Key

# (light, dark). The hues of Okabe and Ito's colour-blind-safe set, darkened or lightened until each has a
# contrast of at least 3:1 with the page's background.
RUN_COLOURS = (
    ("#0072b2", "#56b4e9"),
    ("#c94f00", "#ff9a52"),
    ("#008060", "#2fcf9f"),
    ("#b0457f", "#ec9ecb"),
    ("#8a6a00", "#e6c84a"),
    ("#555f6d", "#b6c0cd"),
)
# Ordered things (layers, values of α): matplotlib's viridis, without its yellow end on the light page and without
# its violet end on the dark page.
ORDERED_COLOURS = (
    ("#440154", "#7e6fc4"),
    ("#46327e", "#6a85d6"),
    ("#365c8d", "#4f9fd0"),
    ("#277f8e", "#35b5b0"),
    ("#1a8a72", "#3fc78c"),
    ("#2f8a45", "#7ad151"),
    ("#5f8a1a", "#b5de2b"),
    ("#857d00", "#fde725"),
)
NEUTRAL_COLOURS = {
    "ink": ("#1d2530", "#e6e9ee"),
    "soft": ("#566070", "#a3adba"),
    "grid": ("#e3e6ea", "#333b46"),
}
DASHES = ("", "6 3", "1.5 2.5")  # distinguish lines when all colours have been used

VARIABLES: dict[str, str] = {}  # stand-in colour for matplotlib -> CSS variable of the page
_STAND_INS: dict[str, str] = {}
for _position, _name in enumerate(
    [
        *NEUTRAL_COLOURS,
        *(f"c{i}" for i in range(len(RUN_COLOURS))),
        *(f"o{i}" for i in range(len(ORDERED_COLOURS))),
    ]
):
    _STAND_INS[_name] = f"#fe0d{_position:02x}"
    VARIABLES[_STAND_INS[_name]] = f"var(--{_name})"


def palette(dark: bool) -> dict[str, str]:
    """The CSS variables of the figures' colours and their values for the light or the dark page."""
    named = {
        **NEUTRAL_COLOURS,
        **{f"c{i}": pair for i, pair in enumerate(RUN_COLOURS)},
        **{f"o{i}": pair for i, pair in enumerate(ORDERED_COLOURS)},
    }
    return {f"--{name}": pair[dark] for name, pair in named.items()}


def run_key(index: int, label: str = "", width: float = 2.0, opacity: float = 1.0) -> Key:
    """The look of the lines of the run with this index, the same in every figure.

    Example:
        >>> run_key(1, "dsd").colour, run_key(7).colour, run_key(7).dash
        ('var(--c1)', 'var(--c1)', '6 3')
    """
    colour = f"var(--c{index % len(RUN_COLOURS)})"
    return Key(label, colour, DASHES[index // len(RUN_COLOURS) % len(DASHES)], width, opacity)


def ordered_key(position: int, count: int, label: str = "", width: float = 2.0) -> Key:
    """The look of the line of the ``position``-th of ``count`` ordered things, from dark to bright.

    Example:
        >>> [ordered_key(layer, 3).colour for layer in range(3)]
        ['var(--o0)', 'var(--o4)', 'var(--o7)']
    """
    step = round(position * (len(ORDERED_COLOURS) - 1) / max(count - 1, 1) + 1e-9)
    return Key(label, f"var(--o{step})", width=width)


def stand_in(colour: str) -> str:
    """The colour for matplotlib; :meth:`asteroid_stab.report.plot.Plot.svg` replaces it by the CSS variable.

    Example:
        >>> VARIABLES[stand_in("var(--c2)")]
        'var(--c2)'
    """
    return _STAND_INS[colour.removeprefix("var(--").removesuffix(")")]
