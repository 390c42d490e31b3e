"""A profile as a roofline, drawn as an SVG: products per byte against products per second.

The roof is the lower of what memory can feed and what the multipliers can do (Williams, Waterman
and Patterson 2009). A dot is one kind of operation of one task; its area is its share of the time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from html import escape

from wazn.bench.profile import Profile, Row, TaskProfile

WIDTH, HEIGHT, MARGIN = 900, 560, 70
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b")
LARGEST_DOT = 26.0
LABEL_WIDTH, LABEL_HEIGHT = 250.0, 14.0


class Axes:
    """Logarithmic axes: MAC per byte to the right, GMAC per second upwards."""

    def __init__(self, profiled: Profile) -> None:
        rows = [row for task in profiled.tasks for row in task.rows if row.num_bytes and row.macs]
        intensities = [row.macs / row.num_bytes for row in rows]
        rates = [row.macs / row.seconds for row in rows]
        self.left, self.right = min(intensities) / 2, max(intensities) * 2
        self.top = profiled.ceilings.compute * 2
        self.bottom = min(*rates, self.left * profiled.ceilings.bandwidth) / 2

    def x(self, intensity: float) -> float:
        share = math.log(intensity / self.left) / math.log(self.right / self.left)
        return MARGIN + share * (WIDTH - 2 * MARGIN)

    def y(self, rate: float) -> float:
        share = math.log(rate / self.bottom) / math.log(self.top / self.bottom)
        return HEIGHT - MARGIN - share * (HEIGHT - 2 * MARGIN)


def draw(profiled: Profile) -> str:
    """The picture as an SVG document."""
    axes = Axes(profiled)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{MARGIN}" y="28" font-size="16">{escape(profiled.file)}, '
        f"{profiled.threads} threads</text>",
        *_frame(axes),
        *_roof(axes, profiled),
    ]
    labels: list[tuple[float, float]] = []
    for place, task in enumerate(profiled.tasks):
        colour = COLOURS[place % len(COLOURS)]
        parts.append(_legend(place, str(task.task), colour))
        parts += _dots(axes, task, colour, labels)
    return "\n".join([*parts, "</svg>\n"])


def _frame(axes: Axes) -> Iterator[str]:
    right, bottom = WIDTH - MARGIN, HEIGHT - MARGIN
    yield (
        f'<path d="M{MARGIN} {MARGIN} V{bottom} H{right}" fill="none" stroke="#444"/>'
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 22}" text-anchor="middle">'
        "multiply-accumulates per byte of weights</text>"
        f'<text transform="translate(20 {HEIGHT / 2}) rotate(-90)" text-anchor="middle">'
        "10⁹ multiply-accumulates per second</text>"
    )
    for power in range(math.ceil(math.log10(axes.left)), math.floor(math.log10(axes.right)) + 1):
        x = axes.x(10.0**power)
        yield f'<path d="M{x:.1f} {MARGIN} V{bottom}" stroke="#eee"/>'
        yield f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{10.0**power:g}</text>'
    for power in range(math.ceil(math.log10(axes.bottom)), math.floor(math.log10(axes.top)) + 1):
        y = axes.y(10.0**power)
        yield f'<path d="M{MARGIN} {y:.1f} H{right}" stroke="#eee"/>'
        label = f"{10.0 ** (power - 9):g}"
        yield f'<text x="{MARGIN - 6}" y="{y + 4:.1f}" text-anchor="end">{label}</text>'


def _roof(axes: Axes, profiled: Profile) -> Iterator[str]:
    bandwidth, compute = profiled.ceilings.bandwidth, profiled.ceilings.compute
    ridge = min(max(compute / bandwidth, axes.left), axes.right)
    yield (
        f'<path d="M{axes.x(axes.left):.1f} {axes.y(axes.left * bandwidth):.1f} '
        f'L{axes.x(ridge):.1f} {axes.y(ridge * bandwidth):.1f} H{axes.x(axes.right):.1f}" '
        'fill="none" stroke="black" stroke-width="2"/>'
        f'<text x="{axes.x(axes.right):.1f}" y="{axes.y(compute) - 8:.1f}" text-anchor="end">'
        f"4-bit kernel, {compute / 1e9:.0f} GMAC/s</text>"
        f'<text x="{axes.x(axes.left) + 6:.1f}" y="{axes.y(axes.left * bandwidth) - 10:.1f}">'
        f"memory, {bandwidth / 1e9:.1f} GB/s</text>"
    )


def _legend(place: int, name: str, colour: str) -> str:
    x, y = WIDTH - MARGIN - 170, HEIGHT - MARGIN - 20 * (place + 1)
    return (
        f'<circle cx="{x}" cy="{y}" r="6" fill="{colour}" fill-opacity="0.6"/>'
        f'<text x="{x + 12}" y="{y + 4}">{escape(name)}</text>'
    )


def _dots(
    axes: Axes, task: TaskProfile, colour: str, labels: list[tuple[float, float]]
) -> Iterator[str]:
    """The dots of a task, the longest operations first, named where there is room."""
    for row in task.rows:
        if not row.num_bytes or not row.macs:
            continue
        share = row.seconds / task.seconds
        x, y = axes.x(row.macs / row.num_bytes), axes.y(row.macs / row.seconds)
        radius = max(3.0, LARGEST_DOT * math.sqrt(share))
        yield (
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{colour}" '
            f'fill-opacity="0.5"><title>{escape(row.what)}: {share:.1%} of the time</title>'
            "</circle>"
        )
        if not any(abs(x - a) < LABEL_WIDTH and abs(y - b) < LABEL_HEIGHT for a, b in labels):
            labels.append((x, y))
            yield _label(row, x, y, radius)


def _label(row: Row, x: float, y: float, radius: float) -> str:
    """The name beside the dot, towards the middle of the picture."""
    is_left = x < WIDTH / 2
    place = x + radius + 3 if is_left else x - radius - 3
    return (
        f'<text x="{place:.1f}" y="{y + 4:.1f}" font-size="10" '
        f'text-anchor="{"start" if is_left else "end"}">{escape(row.what)}</text>'
    )
