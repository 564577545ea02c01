"""Resizes as OpenCV and PyTorch do, with NumPy alone."""

import numpy as np

COEFFICIENT = 1 << 11
"""OpenCV's fixed-point 1 for the weights of neighbouring pixels."""
STRIP = 16
"""New rows at a time, whose numbers fit into the cache of a processor."""


def resize_bilinear(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resizes an image with bilinear interpolation, bit for bit like ``cv2.resize``.

    A pixel is computed from its four neighbours, however much the image shrinks: models are trained
    and tested on images that were resized like this.

    Args:
        image: Shape: ``(H, W, C)``, uint8.
        height: New height in pixels.
        width: New width in pixels.

    Returns:
        Shape: ``(height, width, C)``, uint8.

    Source: ``INTER_LINEAR`` of OpenCV 4, modules/imgproc/src/resize.cpp.
    """
    if image.shape[:2] == (height, width):
        return image
    if image.shape[:2] == (2 * height, 2 * width):
        # OpenCV takes the mean of four pixels then.
        pixels = image.astype(np.uint16)
        rows = pixels[::2] + pixels[1::2]
        return ((rows[:, ::2] + rows[:, 1::2] + 2) >> 2).astype(np.uint8)
    left, right, x_weights = _neighbours(image.shape[1], width, inside=True)
    top, bottom, y_weights = _neighbours(image.shape[0], height, inside=False)
    resized = np.empty((height, width, image.shape[2]), np.uint8)
    for start in range(0, height, STRIP):
        strip = slice(start, start + STRIP)
        upper, lower, weights = top[strip], bottom[strip], [each[strip] for each in y_weights]
        first = upper.min()
        rows = image[first : lower.max() + 1].astype(np.int32)
        rows = (
            np.take(rows, left, 1) * x_weights[0][:, None]
            + np.take(rows, right, 1) * x_weights[1][:, None]
        ) >> 4
        # Each product is shortened alone, as OpenCV's vector instructions do.
        above = (np.take(rows, upper - first, 0) * weights[0][:, None, None]) >> 16
        below = (np.take(rows, lower - first, 0) * weights[1][:, None, None]) >> 16
        resized[strip] = (above + below + 2) >> 2
    return resized


def _neighbours(
    size: int, new: int, *, inside: bool
) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """The two neighbours of each new pixel along one axis, and their fixed-point weights.

    Args:
        size: Pixels of the image along the axis.
        new: Pixels of the resized image.
        inside: Whether a pixel at the edge has the weight 1, as OpenCV has it for columns; for
            rows, both neighbours are the same there.
    """
    scale = 1.0 / (new / size)
    places = ((np.arange(new) + 0.5) * scale - 0.5).astype(np.float32)
    first = np.floor(places).astype(np.int64)
    share = places - first.astype(np.float32)
    if inside:
        share[(first < 0) | (first >= size - 1)] = 0
    weights = tuple(
        np.rint(part * np.float32(COEFFICIENT)).astype(np.int32)
        for part in (np.float32(1) - share, share)
    )
    return first.clip(0, size - 1), (first + 1).clip(0, size - 1), (weights[0], weights[1])


def interpolation(size: int, new: int, *, align_corners: bool = False) -> np.ndarray:
    """The matrix that interpolates linearly along one axis, as PyTorch does.

    Args:
        size: Values along the axis.
        new: Values of the result.
        align_corners: Whether the first and last values stay those of the ends.

    Returns:
        ``matrix @ values`` is ``torch.nn.functional.interpolate(values, new, mode='bilinear')``
        along the axis. Shape: ``(new, size)``, float32.
    """
    if align_corners:
        places = np.arange(new) * ((size - 1) / max(new - 1, 1))
    else:
        places = np.maximum((np.arange(new) + 0.5) * (size / new) - 0.5, 0)
    first = np.minimum(np.floor(places).astype(np.int64), size - 1)
    share = np.where(first < size - 1, places - first, 0)
    matrix = np.zeros((new, size), np.float32)
    rows = np.arange(new)
    matrix[rows, first] += 1 - share
    matrix[rows, np.minimum(first + 1, size - 1)] += share
    return matrix
