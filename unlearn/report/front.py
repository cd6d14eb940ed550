"""Which runs no other run beats on both tasks, and how much of the plane they cover.

A point is (forget, retain): the first is minimised, the second maximised, as on the forget-retain
plane. Pure functions: no numpy, no files, so that a sweeper or a script can use them as well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Point = tuple[float, float]
"""(forget, retain), such as two ROUGE-L recalls: low and high are good."""


def pareto_front(points: Sequence[Point]) -> list[int]:
    """Return the indices of the points that no other point dominates, by rising forget.

    A point dominates another where it forgets at least as much and retains at least as much, and
    one of both strictly more. Equal points do not dominate each other: duplicates of a point on
    the front are all on it, in the order in which they came. Of points with the same forget only
    those with the highest retain are on it, and the other way round. A point with a NaN was not
    measured, so it neither is on the front nor keeps another off; infinities compare as numbers.
    """
    measured = [i for i, point in enumerate(points) if not any(map(math.isnan, point))]
    front: list[int] = []
    best = -math.inf
    # From the left, and at the same forget from the top: what does not rise is dominated.
    for index in sorted(measured, key=lambda i: (points[i][0], -points[i][1])):
        retain = points[index][1]
        if retain > best or not front or tuple(points[front[-1]]) == tuple(points[index]):
            front.append(index)
            best = retain
    return front


def hypervolume(front: Sequence[Point], reference: Point) -> float:
    """Return the area that the points dominate, up to the worst corner `reference`.

    The union of the rectangles between each point and the corner (its forget to the right of all
    that counts, its retain below): with ROUGE-L and the corner (1, 0), a share of the whole plane
    from 0 to 1 (Zitzler and Thiele, 1998, in two dimensions). Dominated points, duplicates and
    points with a NaN add nothing, nor does a point that is no better than the corner in both; so
    any set of points may be given, not its front only.

    Raises:
        ValueError: where the corner is not finite, or a point that counts is infinitely good, as
            there is no area then.
    """
    if not all(map(math.isfinite, reference)):
        raise ValueError(f"hypervolume: the reference point {reference} is not finite")
    right, bottom = reference
    inside = [(x, y) for x, y in front if x < right and y > bottom]
    if any(math.isinf(x) or math.isinf(y) for x, y in inside):
        raise ValueError(f"hypervolume: a point is infinite: {inside}")
    area, reached = 0.0, bottom
    for x, y in (inside[i] for i in pareto_front(inside)):
        # Each point adds the strip between its own height and the one before.
        area += (right - x) * (y - reached)
        reached = y
    return area
