"""The plot of `ledger_scale.py`: how each cost grows with the number of samples, both axes logarithmic."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

SIZE_PX = (1200, 760)
LEFT, TOP, RIGHT, BOTTOM = 90, 40, 780, 690
COLOURS = ["#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b", "#17becf", "#7f7f7f", "#bcbd22", "#e377c2"]


def series(results: dict[str, Any]) -> dict[str, list[tuple[int, float]]]:
    """By name, (samples, milliseconds) of everything that was measured for at least two sizes."""
    found: dict[str, list[tuple[int, float]]] = {}
    for title, measured in results.items():
        if not title.endswith(" samples"):
            continue
        count = int(title.removesuffix(" samples").replace(",", ""))
        for name, value in _flat(measured):
            found.setdefault(name, []).append((count, max(value, 1e-3)))
    return {name: sorted(points) for name, points in found.items() if len(points) > 1}


def _flat(measured: dict[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    found = []
    for name, value in measured.items():
        if name == "sqlite":
            found += _flat(value, "SQLite: ")
        elif isinstance(value, dict) and "p50_ms" in value:
            found.append((prefix + name, float(value["p50_ms"])))
        elif name.endswith(", s"):
            found.append((prefix + name.removesuffix(", s"), float(value) * 1000))
    return found


def plot(results: dict[str, Any], path: Path) -> None:
    """Draw and write a PNG."""
    lines = series(results)
    points = [point for line in lines.values() for point in line]
    if not points:
        return
    low_x, high_x = (math.log10(bound(x for x, _ in points)) for bound in (min, max))
    low_y, high_y = math.floor(min(math.log10(y) for _, y in points)), math.ceil(max(math.log10(y) for _, y in points))

    def at(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - low_x) / max(high_x - low_x, 1e-9)
        up = (math.log10(y) - low_y) / max(high_y - low_y, 1)
        return LEFT + across * (RIGHT - LEFT), BOTTOM - up * (BOTTOM - TOP)

    image = Image.new("RGB", SIZE_PX, "white")
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(14)
    for power in range(low_y, high_y + 1):
        _, y = at(points[0][0], 10.0**power)
        draw.line([(LEFT, y), (RIGHT, y)], fill="#dddddd")
        draw.text((LEFT - 8, y), f"{10.0**power:g} ms", fill="black", font=font, anchor="rm")
    for count in sorted({x for x, _ in points}):
        x, _ = at(count, 10.0**low_y)
        draw.line([(x, TOP), (x, BOTTOM)], fill="#eeeeee")
        draw.text((x, BOTTOM + 8), f"{count:,}", fill="black", font=font, anchor="ma")
    draw.text(
        ((LEFT + RIGHT) / 2, BOTTOM + 40), "samples (p50; both axes logarithmic)", fill="black", font=font, anchor="ma"
    )
    ranked = sorted(lines.items(), key=lambda item: -item[1][-1][1])
    for number, (name, line) in enumerate(ranked):
        colour = COLOURS[number % len(COLOURS)]
        placed = [at(x, y) for x, y in line]
        width = 1 if name.startswith("SQLite") else 3
        draw.line(placed, fill=colour, width=width)
        for x, y in placed:
            draw.ellipse([(x - 3, y - 3), (x + 3, y + 3)], fill=colour)
        y = TOP + number * 24
        draw.line([(RIGHT + 20, y + 8), (RIGHT + 50, y + 8)], fill=colour, width=width)
        draw.text((RIGHT + 58, y), name, fill="black", font=font)
    image.save(path, optimize=True)
