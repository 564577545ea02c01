"""Finds where a class of a semantic map is widest: there is room for its name."""

import numpy as np

from casvit.results import SemanticMap

# Longer side of the grid on which the widest place of a class is searched.
GRID = 96


def widest_places(result: SemanticMap, class_ids: list[int]) -> list[tuple[int, int]]:
    """A pixel (x, y) of each class that is far from other classes, found on a coarse grid."""
    step = max(1, -(-max(result.class_ids.shape) // GRID))
    grid = result.class_ids[step // 2 :: step, step // 2 :: step]
    if not grid.size:
        grid, step = result.class_ids, 1
    # The edge of the image counts as a class boundary.
    framed = np.pad(grid.astype(np.int32), 1, constant_values=-1)
    around = [(y, x) for y in range(3) for x in range(3)]
    height, width = grid.shape
    inside = np.all([framed[y : y + height, x : x + width] == grid for y, x in around], axis=0)
    depth = np.zeros(grid.shape, np.int32)
    while inside.any():
        depth += inside
        framed = np.pad(inside, 1)
        inside = np.all([framed[y : y + height, x : x + width] for y, x in around], axis=0)
    places = []
    for class_id in class_ids:
        deep = np.where(grid == class_id, depth, -1)
        if (deepest := deep.max()) >= 0:
            # The middle one of several with the same distance.
            equal = np.flatnonzero(deep == deepest)
            y, x = divmod(int(equal[len(equal) // 2]), width)
            places.append((x * step + step // 2, y * step + step // 2))
        else:
            y, x = divmod(int((result.class_ids == class_id).argmax()), result.width)
            places.append((x, y))
    return places
