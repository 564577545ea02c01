import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from casvit_mm.datasets.shapes import scenes

CLASSES = tuple(scenes.OUTLINES)
seeds = st.integers(0, 2**32 - 1)


def painted(seed: int, size: int = 160, **options: bool) -> scenes.Scene:
    return scenes.paint(np.random.default_rng(seed), size, **options)


@settings(max_examples=40)
@given(seeds, st.sampled_from([64, 97, 160, 256]))
def test_objects_are_visible_enough_at_every_size(seed: int, size: int) -> None:
    scene = painted(seed, size)
    assert scene.image.shape == (size, size, 3)
    assert scene.image.dtype == np.uint8
    assert 1 <= len(scene.instances) <= scenes.MAX_OBJECTS
    for instance in scene.instances:
        rows, columns = np.nonzero(instance.mask)
        assert max(np.ptp(rows), np.ptp(columns)) + 1 >= scenes.MIN_PIXELS
        assert scenes.MIN_VISIBLE <= instance.visible <= 1
        assert 0 <= instance.label < len(CLASSES)


@settings(max_examples=40)
@given(seeds)
def test_no_pixel_belongs_to_two_objects(seed: int) -> None:
    masks = [instance.mask for instance in painted(seed).instances]
    assert np.sum(masks, axis=0).max() == 1


@settings(max_examples=40)
@given(seeds)
def test_objects_lie_inside_the_image(seed: int) -> None:
    for instance in painted(seed).instances:
        rows, columns = np.nonzero(instance.mask)
        assert min(rows.min(), columns.min()) >= 1
        assert max(rows.max(), columns.max()) <= 158


@settings(max_examples=20)
@given(seeds)
def test_an_image_depends_only_on_its_random_stream(seed: int) -> None:
    first, second = painted(seed), painted(seed)
    assert np.array_equal(first.image, second.image)
    assert not np.array_equal(first.image, painted(seed + 1).image)


def test_an_empty_image_has_only_a_background() -> None:
    scene = painted(3, empty=True)
    assert not scene.instances
    assert scene.image.std() > 0


def test_every_class_has_its_own_shape() -> None:
    """Measured by its share of the enclosing circle, which rotation does not change."""
    shares: dict[str, list[float]] = {name: [] for name in CLASSES}
    for seed in range(120):
        for instance in painted(seed).instances:
            points = np.argwhere(instance.mask).astype(np.float32)
            if instance.visible == 1 and len(points) > 500:
                _, radius = cv2.minEnclosingCircle(points)
                shares[CLASSES[instance.label]].append(len(points) / (np.pi * (radius + 0.3) ** 2))
    expected = {
        'circle': 1,
        'square': 2 / np.pi,
        'triangle': 0.413,
        'star': 0.421,
        'cross': 0.665,
        'ring': 1 - 0.52**2,
    }
    for name, share in expected.items():
        assert len(shares[name]) >= 3
        assert np.abs(np.array(shares[name]) - share).max() < 0.08, name


def test_a_ring_has_a_hole() -> None:
    rings = [
        instance.mask
        for seed in range(60)
        for instance in painted(seed).instances
        if CLASSES[instance.label] == 'ring' and instance.visible == 1
    ]
    assert rings
    for mask in rings:
        _, hierarchy = cv2.findContours(
            mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE
        )
        assert (hierarchy[0][:, 3] >= 0).any()


def test_objects_stand_out_from_their_surroundings() -> None:
    distances = []
    for seed in range(60):
        scene = painted(seed)
        image = scene.image.astype(float)
        anything = np.any([instance.mask for instance in scene.instances], axis=0)
        for instance in scene.instances:
            near = cv2.dilate(instance.mask.astype(np.uint8), np.ones((9, 9))) > 0
            around = near & ~anything
            inside = image[instance.mask].mean(axis=0)
            distances.append(np.linalg.norm(inside - image[around].mean(axis=0)))
    assert np.percentile(distances, 2) > 50
    assert np.median(distances) > 90
