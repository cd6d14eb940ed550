"""The figure of a decision: what still comes out, what is still known, and what is accepted.

An SVG within the page, whose letters are the page's own: no font has to be found for a language.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from unlearn.requests.certificate.lights import bounds_of

WIDTH, HEIGHT = 360, 300
LEFT, RIGHT, TOP, BOTTOM = 46, 18, 10, 42
"""Pixels around the plane, for its labels."""
MEASURES = ("rougeL_recall", "probability")
"""By which of them the plane is drawn: the first that conditions speak of and that is there."""
STAGES = ("before", "reference", "after")


def figure(facts: Mapping[str, Any], words: Mapping[str, Any]) -> Markup:
    """Draw the stages on the plane of forget and retain, with the box of the conditions."""
    measure = _measure(facts)
    if measure is None:
        return Markup("")
    box = _box(facts["conditions"], measure)
    places = {
        stage: (flat[f"forget/{measure}"], flat[f"retain/{measure}"])
        for stage in STAGES
        if (flat := facts["metrics"].get(stage))
        and flat.get(f"forget/{measure}") is not None
        and flat.get(f"retain/{measure}") is not None
    }
    told = escape(words["figure"]["alt"])
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{told}">']
    parts += [*_frame(words), *_rectangle(box), *_way(places)]
    parts += [_mark(stage, *place) for stage, place in places.items()]
    return Markup("".join([*parts, "</svg>"]))


def _measure(facts: Mapping[str, Any]) -> str | None:
    named = {condition["metric"] for condition in facts["conditions"]}
    after = facts["metrics"].get("after", {})
    there = [one for one in MEASURES if {f"forget/{one}", f"retain/{one}"} <= after.keys()]
    return next((one for one in there if f"forget/{one}" in named), next(iter(there), None))


def _box(conditions: Sequence[Mapping[str, Any]], measure: str) -> tuple[float, ...]:
    """Return between which shares of forget and of retain every condition on them is met."""
    edges = {"forget": [0.0, 1.0], "retain": [0.0, 1.0]}
    for condition in conditions:
        split, _, name = condition["metric"].partition("/")
        if split in edges and name == measure and condition["bound"] is not None:
            low, high = bounds_of(condition)
            edges[split][0] = max(edges[split][0], low if low is not None else 0.0)
            edges[split][1] = min(edges[split][1], high if high is not None else 1.0)
    return (*edges["forget"], *edges["retain"])


def _x(share: float) -> float:
    return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)


def _y(share: float) -> float:
    return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)


def _frame(words: Mapping[str, Any]) -> list[str]:
    lines = []
    for tick in (0, 0.25, 0.5, 0.75, 1):
        x, y = _x(tick), _y(tick)
        lines.append(f'<path class="grid" d="M{x} {_y(0)}V{_y(1)}M{_x(0)} {y}H{_x(1)}"/>')
        lines.append(f'<text x="{x}" y="{_y(0) + 13}" text-anchor="middle">{tick:.0%}</text>')
        lines.append(f'<text x="{LEFT - 5}" y="{y + 3}" text-anchor="end">{tick:.0%}</text>')
    across, up = escape(words["figure"]["across"]), escape(words["figure"]["up"])
    middle = (_x(0) + _x(1)) / 2
    lines.append(f'<text class="axis" x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">')
    lines.append(f"{across}</text>")
    turned = f'transform="translate(11 {(_y(0) + _y(1)) / 2}) rotate(-90)"'
    return [*lines, f'<text class="axis" {turned} text-anchor="middle">{up}</text>']


def _rectangle(box: tuple[float, ...]) -> list[str]:
    left, right, low, high = box
    if left > right or low > high:
        return []  # conditions that no model can meet
    size = f'width="{_x(right) - _x(left):.1f}" height="{_y(low) - _y(high):.1f}"'
    return [f'<rect class="box" x="{_x(left)}" y="{_y(high)}" {size}/>']


def _way(places: Mapping[str, tuple[float, float]]) -> list[str]:
    if not {"before", "after"} <= places.keys():
        return []
    ends = [f"{_x(x)} {_y(y)}" for x, y in (places["before"], places["after"])]
    return [f'<path class="way" d="M{ends[0]}L{ends[1]}"/>']


def _mark(stage: str, forget: float, retain: float) -> str:
    x, y = _x(forget), _y(retain)
    if stage == "reference":
        shape = f"M{x} {y - 7}L{x + 6} {y}L{x} {y + 7}L{x - 6} {y}Z"
        return f'<path class="reference" d="{shape}"/>'
    return f'<circle class="{stage}" cx="{x}" cy="{y}" r="{6 if stage == "before" else 5}"/>'
