"""Just enough SVG for reports: shapes with CSS classes, a linear scale, round ticks.

Colours live in the page's style sheet, so that one drawing serves light, dark and print.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree

Anchor = Literal["start", "middle", "end"]


class Canvas:
    """An SVG drawing; text is escaped by construction."""

    def __init__(self, width: float, height: float, *, label: str) -> None:
        self.width, self.height = width, height
        attributes = {"viewBox": f"0 0 {width:g} {height:g}", "role": "img", "aria-label": label}
        self._root = ElementTree.Element("svg", attributes)

    def line(self, x1: float, y1: float, x2: float, y2: float, *, css: str) -> None:
        """Draw a straight line."""
        self._add("line", css, x1=x1, y1=y1, x2=x2, y2=y2)

    def rect(
        self, x: float, y: float, width: float, height: float, *, css: str, radius: float = 0, hint: str = ""
    ) -> None:
        """Draw a rectangle; `hint` shows under the pointer."""
        self._add("rect", css, hint=hint, x=x, y=y, width=max(width, 0.0), height=height, rx=radius)

    def circle(self, x: float, y: float, radius: float, *, css: str, hint: str = "") -> None:
        """Draw a disc; `hint` shows under the pointer."""
        self._add("circle", css, hint=hint, cx=x, cy=y, r=radius)

    def path(self, points: Sequence[tuple[float, float]], *, css: str, hint: str = "") -> None:
        """Draw straight lines from point to point."""
        steps = " L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        self._add("path", css, hint=hint, d=f"M{steps}")

    def text(self, x: float, y: float, content: str, *, css: str, anchor: Anchor = "start") -> None:
        """Write text with its baseline at `y`."""
        element = self._add("text", css, x=x, y=y)
        element.set("text-anchor", anchor)
        element.text = content

    def render(self) -> str:
        """Return the drawing as an `<svg>` element to stand inside HTML."""
        return ElementTree.tostring(self._root, encoding="unicode")

    def _add(self, tag: str, css: str, *, hint: str = "", **attributes: float | str) -> ElementTree.Element:
        values = {
            name: value if isinstance(value, str) else f"{round(value, 1):g}"
            for name, value in attributes.items()
        }
        element = ElementTree.SubElement(self._root, tag, {"class": css, **values})
        if hint:
            ElementTree.SubElement(element, "title").text = hint
        return element


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps values low..high linearly to pixels start..end."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the pixel of `value`."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def round_ticks(high: float, *, count: int = 5) -> list[float]:
    """Return ticks 0, s, 2s, ... with s = 1, 2 or 5 x 10^k, the last one at or above `high`.

    Args:
        high: largest value to show; anything not above 0 counts as 1.
        count: about how many steps there shall be.
    """
    high = high if high > 0 else 1.0
    rough = high / count
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= rough * 0.999)
    return [index * step for index in range(math.ceil(high / step - 1e-9) + 1)]
