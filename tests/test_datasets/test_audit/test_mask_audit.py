"""Each issue of semantic masks is found in the right file; the repaired copy has none."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from faulty import IMAGES, SEMANTIC_MASKS, make_a_copy_of, resize

from casvit_mm.datasets.audit.masks import audit_masks
from casvit_mm.datasets.audit.repair_masks import repair_masks
from casvit_mm.datasets.formats.find import read_dataset
from casvit_mm.datasets.issues import Severity
from casvit_mm.datasets.shapes.objects import CLASSES, generate


@pytest.fixture(scope='module')
def clean(tmp_path_factory) -> Path:
    generated = tmp_path_factory.mktemp('clean') / 'shapes'
    generate(generated, num_train=24, num_val=12, size=96, progress=False)
    root = generated.with_name('masks')
    for split in ('train', 'val'):
        shutil.copytree(generated / split, root / 'images' / split)
        shutil.copytree(generated / 'labels' / split, root / 'annotations' / split)
    (root / 'classes.txt').write_text('\n'.join(('background', *CLASSES)))
    return root


def checked(root, **options):
    return audit_masks(read_dataset(root, 'semantic'), progress=False, **options)


def errors(audit):
    return {issue.kind for issue in audit.issues.of(Severity.ERROR)}


def test_a_clean_dataset_has_no_issues_and_is_counted(clean):
    audit = checked(clean)
    assert [str(issue) for issue in audit.issues.issues] == []
    assert audit.classes == ['background', *CLASSES]
    facts = audit.facts['train']
    assert facts.images == 24 and sum(facts.pixels.values()) == 24 * 96 * 96
    assert facts.masks['background'] == 24 and facts.ignored == 0


@pytest.mark.parametrize('damage', SEMANTIC_MASKS, ids=lambda damage: damage.__name__)
def test_a_damaged_semantic_mask_is_found_and_repaired(clean, damage, tmp_path):
    for seed in range(4):
        rng = np.random.default_rng(seed)
        root = tmp_path / str(seed)
        shutil.copytree(clean, root)
        path = sorted((root / 'annotations/train').iterdir())[rng.integers(24)]
        damage(path, rng)
        issues = [f for f in checked(root).issues.issues if f.kind != 'absent-class']
        named = root / 'images/train' / f'{path.stem}.jpg' if not path.exists() else path
        assert [(f.kind, f.file) for f in issues] == [(SEMANTIC_MASKS[damage], str(named))]

        fixed = tmp_path / f'{seed}-fixed'
        changes = repair_masks(checked(root), fixed, allow_loss=1)
        assert errors(checked(fixed)) == set()
        assert bool(changes) == (issues[0].severity is Severity.ERROR)


@pytest.mark.parametrize('damage', IMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_image_is_found_and_repaired(clean, damage, tmp_path):
    root = tmp_path / 'masks'
    shutil.copytree(clean, root)
    path = root / 'images/val/000004.jpg'
    damage(path, np.random.default_rng(0))
    kind, file = IMAGES[damage], path
    mask = root / 'annotations/val/000004.png'
    if kind == 'missing-picture':
        kind, file = 'unpaired-label-map', mask
    elif damage is resize:
        kind, file = 'label-map-size', mask
    issues = [f for f in checked(root).issues.issues if f.kind != 'absent-class']
    assert [(f.kind, f.file) for f in issues] == [(kind, str(file))]
    repair_masks(checked(root), tmp_path / 'fixed', allow_loss=1)
    assert errors(checked(tmp_path / 'fixed')) == set()


def test_an_image_in_two_splits_is_found_by_its_content(clean, tmp_path):
    root = tmp_path / 'masks'
    shutil.copytree(clean, root)
    make_a_copy_of(root / 'images/val/000003.jpg', root / 'images/train/000005.jpg')
    (issue,) = checked(root).issues.issues
    assert (issue.kind, issue.file) == ('same-picture', str(root / 'images/train/000005.jpg'))


def test_the_message_gives_the_number_of_pixels_and_the_allowed_values(clean, tmp_path):
    root = tmp_path / 'masks'
    shutil.copytree(clean, root)
    path = root / 'annotations/train/000000.png'
    labels = cv2.imread(str(path), -1)
    labels[:2, :5] = 9
    cv2.imwrite(str(path), labels)
    (issue,) = checked(root).issues.of(Severity.ERROR)
    assert issue.detail == (
        'has the value 9 in 10 pixels; allowed are 0 to 6, and 255 for ignored pixels'
    )
    assert errors(checked(root, ignore_index=9)) == set()


def test_street_scenes_with_void_as_the_last_value(photographs, tmp_path):
    root = tmp_path / 'streets'
    shutil.copytree(photographs / 'camvid_mini', root)
    names = [
        *('sky', 'building', 'pole', 'road', 'pavement', 'tree'),
        *('sign', 'fence', 'car', 'pedestrian', 'bicyclist'),
    ]
    (root / 'classes.txt').write_text('\n'.join(names))
    assert errors(checked(root)) == {'label-value'}
    audit = checked(root, ignore_index=11)
    assert errors(audit) == set()
    assert {name: fact.images for name, fact in audit.facts.items()} == {'train': 123, 'val': 51}
    assert 0 < audit.facts['val'].ignored < 0.2


def test_street_scenes_in_colours_give_the_same_class_indices(photographs, tmp_path):
    root = tmp_path / 'streets'
    plain = photographs / 'camvid_mini'
    shutil.copytree(plain / 'images', root / 'images')
    rng = np.random.default_rng(0)
    colours = rng.permutation(256**3)[:12]
    palette = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], 1).astype(np.uint8)
    for path in plain.glob('annotations/*/*.png'):
        target = root / path.relative_to(plain)
        target.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(target), palette[cv2.imread(str(path), -1)][..., ::-1])
    assert errors(checked(root)) == {'colour-map'}

    names = [*(f'class {index}' for index in range(11)), 'void']
    lines = [f'{r} {g} {b} {name}' for (r, g, b), name in zip(palette, names, strict=True)]
    (root / 'label_colors.txt').write_text('\n'.join(lines))
    audit = checked(root)
    assert errors(audit) == set() and audit.classes == names[:11]

    same = checked(plain, ignore_index=11)
    for split in ('train', 'val'):
        found, wanted = audit.facts[split], same.facts[split]
        assert list(found.pixels.values()) == list(wanted.pixels.values())[:11]
        assert found.ignored == wanted.ignored
    repair_masks(audit, tmp_path / 'fixed')
    path = 'annotations/val/' + sorted(p.name for p in plain.glob('annotations/val/*'))[0]
    labels, original = (cv2.imread(str(r / path), -1) for r in (tmp_path / 'fixed', plain))
    assert np.array_equal(np.where(labels == 255, 11, labels), original)
