"""The page of the data check: what is on it, what is drawn, and that it stays self-contained."""

import json
import shutil

import numpy as np
import pytest
from faulty import IMAGES, RECORDS, SEMANTIC_MASKS, set_a_value_outside
from images import write_image
from pages import Page, check_page, marked, shown_image
from PIL import Image

from casvit.cli.main import run_tool
from casvit_mm.datasets.audit.masks import audit_masks
from casvit_mm.datasets.audit.objects import audit_objects
from casvit_mm.datasets.formats.find import read_dataset
from casvit_mm.datasets.formats.masks import wheel
from casvit_mm.datasets.issues import KINDS, Effect
from casvit_mm.datasets.shapes import objects as shapes
from casvit_mm.report.audit.page import verdict, write_mask_page, write_object_page
from casvit_mm.report.audit.plots import DetectorScales

HOSTILE = ['<script>alert(1)</script>', '"><img src=http://x.y onerror=alert(1)>', "'&amp;{}"]


@pytest.fixture(scope='module')
def generated(tmp_path_factory):
    root = tmp_path_factory.mktemp('generated') / 'shapes'
    shapes.generate(root, num_train=5, num_val=3, size=64, progress=False)
    masks = root.with_name('masks')
    for split in ('train', 'val'):
        shutil.copytree(root / split, masks / 'images' / split)
        shutil.copytree(root / 'labels' / split, masks / 'annotations' / split)
    (masks / 'classes.txt').write_text('\n'.join(['ground', *shapes.CLASSES]))
    shutil.rmtree(root / 'labels')
    (root / 'dataset.json').unlink()
    return root


def object_page(root, out, *, masks=True, scales=None):
    audit = audit_objects(read_dataset(root), masks=masks, progress=False)
    palette = [wheel(index) for index in range(len(audit.classes))]
    write_object_page(audit, out, palette, scales)
    page = Page(out)
    check_page(page)
    return audit, page


def mask_page(root, out):
    audit = audit_masks(read_dataset(root, 'semantic'), progress=False)
    write_mask_page(audit, out)
    page = Page(out)
    check_page(page)
    return audit, page


def coco(root, images, categories, annotations, split='train'):
    """Writes a COCO dataset; images are (name, width, height), annotations image, category, box."""
    records = [
        dict(id=i, file_name=name, width=width, height=height)
        for i, (name, width, height) in enumerate(images, 1)
    ]
    objects = [
        dict(
            id=i,
            image_id=image,
            category_id=category,
            bbox=list(box),
            area=box[2] * box[3],
            iscrowd=0,
        )
        for i, (image, category, box) in enumerate(annotations, 1)
    ]
    names = [dict(id=i, name=name) for i, name in enumerate(categories, 1)]
    content = dict(images=records, categories=names, annotations=objects)
    (root / f'{split}.json').write_text(json.dumps(content))


def test_a_clean_dataset_has_images_with_their_facts_and_five_charts(generated, tmp_path):
    scales = DetectorScales('some_rcnn', (1333, 800), (4, 8, 16, 32), (32.0, 64.0))
    audit, page = object_page(generated, tmp_path / 'a.html', scales=scales)
    text = page.root.text
    assert verdict(audit.issues) in text and 'Data check: shapes (COCO)' in text
    assert len(page.cards) == 8 and 'Images with issues' not in text
    for card in page.cards:
        name = card.all('div', class_='name')[0].text
        split = card.all('div', class_='small')[0].text.split(',')[0]
        scan = audit.scans[split]
        number = sum(1 for _, r in scan.annotations if r['image_id'] == names(scan)[name])
        assert f'{split}, {number} object' in card.text and '64 x 64' in card.text
        alternative = card.all('img')[0].attributes['alt']
        assert f'{name} in {split}: {number} object' in alternative
        assert shown_image(card, 'src').shape == (480, 480, 3)
    titles = [chart.all('h3')[0].text for chart in page.charts]
    assert titles == [
        'Objects by class',
        'Object sizes, as some_rcnn sees them',
        'Objects per image',
        'Image sizes (larger dots: more images)',
        'Object positions',
    ]
    by_class, sizes, _, image_sizes, _ = page.charts
    for name, number in audit.facts['train'].objects.items():
        assert f'{name}: {number:,} objects in train' in str(
            [e.attributes.get('title') for e in by_class.below]
        )
    assert 'All 8 images are 64 x 64 pixels.' in image_sizes.text
    assert len(sizes.all('line', class_='stride')) == 4
    assert len(sizes.all('line', class_='anchor')) == 2


def names(scan):
    return {record['file_name']: key for key, (_, record) in scan.images.items()}


@pytest.mark.parametrize('damage', [*RECORDS, *IMAGES])
def test_an_image_with_an_issue_comes_first_with_the_text_of_the_issue(generated, tmp_path, damage):
    root = shutil.copytree(generated, tmp_path / 'data')
    rng = np.random.default_rng(4)
    file = next(root.rglob('instances_train.json'))
    content = json.loads(file.read_text())
    if damage in RECORDS:
        damage(content, rng)
        file.write_text(json.dumps(content))
    else:
        damage(root / 'train' / content['images'][3]['file_name'], rng)
    audit, page = object_page(root, tmp_path / 'a.html')
    counts = audit.issues.counts()
    assert list(page.issues()) == list(counts)
    for kind, element in page.issues().items():
        badge = {Effect.NONE: 'warning'}.get(KINDS[kind].effect, KINDS[kind].effect.value)
        summary = element.all('summary')[0].text
        assert summary == f'{badge} {counts[kind]} \N{MULTIPLICATION SIGN} {KINDS[kind].title}'
        assert KINDS[kind].advice in element.text
        for issue in audit.issues.first(kind, 20):
            assert f'{issue.record} {issue.detail}'.strip() in element.text
        assert ('open' in element.attributes) == (KINDS[kind].effect is not Effect.NONE)
    with_issues = [bool(card.all(class_='badge')) for card in page.cards]
    assert with_issues == sorted(with_issues, reverse=True)
    told = [f'{i.record} {i.detail}' for i in audit.issues.issues if is_in_an_image(i, content)]
    assert not told or any(text in page.cards[0].text for text in told)
    assert bool(told) == with_issues[0]


def is_in_an_image(issue, content):
    if issue.group == 'images':
        return isinstance(content['images'][issue.index].get('file_name'), str)
    if issue.group != 'annotations' or not isinstance(content['annotations'][issue.index], dict):
        return False
    known = [
        record['id']
        for record in content['images']
        if 'id' in record and type(record.get('width')) is type(record.get('height')) is int
    ]
    return content['annotations'][issue.index].get('image_id') in known


@pytest.mark.parametrize('damage', [d for d, kind in IMAGES.items() if 'able' in kind])
def test_an_image_that_cannot_be_read_has_a_card_that_says_so(generated, tmp_path, damage):
    root = shutil.copytree(generated, tmp_path / 'data')
    damage(sorted((root / 'train').iterdir())[3], np.random.default_rng(0))
    _, page = object_page(root, tmp_path / 'a.html')
    card = page.cards[0]
    assert not card.all('img') and 'This image cannot be read' in card.text
    assert 'cannot be read' in card.all('div', class_='missing')[0].attributes['aria-label']


def test_a_missing_image_has_a_card_that_says_so(generated, tmp_path):
    root = shutil.copytree(generated, tmp_path / 'data')
    sorted((root / 'train').iterdir())[4].unlink()
    _, page = object_page(root, tmp_path / 'a.html')
    assert 'This image is missing' in page.cards[0].text


def test_annotations_are_drawn_in_the_style_that_was_asked_for(tmp_path):
    Image.new('RGB', (640, 480), (90, 90, 90)).save(tmp_path / 'a.png')
    coco(tmp_path, [('a.png', 640, 480)], ['cat'], [(1, 1, (100, 100, 300, 200))])

    def drawn(*options):
        """Share of the pixels that are not the grey of the image."""
        out = tmp_path / 'out'
        assert run_tool('check', [str(tmp_path), '--out-dir', str(out), *options]) == 0
        image = shown_image(Page(out / 'index.html').cards[0]).astype(int)
        return (abs(image - 90).max(-1) > 25).mean()

    assert drawn('--no-labels', '--no-boxes') == 0
    thin = drawn('--no-labels', '--line-width', '2')
    assert 2 * thin < drawn('--no-labels', '--line-width', '8')
    assert thin < drawn('--line-width', '2', '--font-size', '12')
    small, large = (drawn('--no-boxes', '--font-size', size) for size in ('12', '40'))
    assert large > 3 * small


@pytest.mark.parametrize('size', [(40, 30), (640, 480), (3000, 2000)])
@pytest.mark.parametrize(
    ('box', 'kind'),
    [
        ((0.25, 0.25, 0.5, 0), 'empty-box'),
        ((0.5, 0.5, -0.25, 0.25), 'swapped-box'),
        ((0.5, 0.25, 0.75, 0.5), 'partly-outside'),
        ((1.1, 0.2, 0.2, 0.3), 'outside-box'),
        ((-0.4, -0.4, 0.3, 0.3), 'outside-box'),
    ],
)
def test_the_box_at_issue_is_marked_where_it_is(tmp_path, size, box, kind):
    root = tmp_path / 'data'
    root.mkdir()
    Image.new('RGB', size, (90, 120, 150)).save(root / 'a.jpg')
    width, height = size
    placed = [box[0] * width, box[1] * height, box[2] * width, box[3] * height]
    coco(root, [('a.jpg', *size)], ['cat'], [(1, 1, placed)])
    audit, page = object_page(root, tmp_path / 'a.html', masks=False)
    assert kind in audit.issues.counts()
    for name in ('src', 'data-large'):
        image = shown_image(page.cards[0], name)
        rows, columns = np.nonzero(marked(image))
        assert len(rows) > 40
        # The image and its box, whichever is farther out, fill the canvas up to a small margin.
        left, right = min(0, box[0], box[0] + box[2]), max(1, box[0], box[0] + box[2])
        upper, lower = min(0, box[1], box[1] + box[3]), max(1, box[1], box[1] + box[3])
        x = (columns / image.shape[1]) * (right - left) + left
        y = (rows / image.shape[0]) * (lower - upper) + upper
        ends = sorted((box[0], box[0] + box[2])), sorted((box[1], box[1] + box[3]))
        for found, (low, high) in zip((x, y), ends, strict=True):
            assert abs(found.min() - low) < 0.1 and abs(found.max() - high) < 0.1
    assert max(shown_image(page.cards[0], 'src').shape) == 480
    assert max(shown_image(page.cards[0]).shape) in (960, 1600)


def test_several_objects_with_issues_in_an_image_are_numbered(tmp_path):
    root = tmp_path / 'data'
    root.mkdir()
    Image.new('RGB', (200, 100)).save(root / 'a.png')
    boxes = [(1, 1, (10, 10, 0, 20)), (1, 1, (150, 50, 100, 20)), (1, 1, (60, 60, 9, 9))]
    coco(root, [('a.png', 200, 100)], ['cat'], boxes)
    _, page = object_page(root, tmp_path / 'a.html', masks=False)
    (card,) = page.cards
    items = [item.text for item in card.all('li')]
    assert items[0].startswith('1 harms annotations[0] (id 1) has bbox = [10, 10, 0, 20]')
    assert items[1].startswith('2 warning annotations[1] (id 2)')


def test_a_rotated_image_is_shown_as_a_run_loads_it(tmp_path):
    root = tmp_path / 'data'
    root.mkdir()
    pixels = np.zeros((2000, 4000, 3), np.uint8)
    pixels[:, 2000:] = (0, 200, 0)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(root / 'a.jpg', exif=exif)
    coco(root, [('a.jpg', 2000, 4000)], ['cat'], [(1, 1, (100, 2100, 1800, 1800))])
    _, page = object_page(root, tmp_path / 'a.html', masks=False)
    image = shown_image(page.cards[0])
    # Orientation 6: the left side as stored is the upper side.
    assert image.shape == (1600, 800, 3)
    assert image[300, 400].max() < 30 and image[1200, 400].argmax() == 1
    assert 'rotated by EXIF' in page.cards[0].text and '2000 x 4000' in page.cards[0].text


def test_hostile_names_of_classes_and_files_do_nothing(tmp_path):
    root = tmp_path / '<b>&data'
    root.mkdir()
    files = ['<script>x</script>.png'.replace('/', '\u2215'), 'a\'"onclick=.png']
    for name in files:
        write_image(root / name)
    boxes = [(1 + i % 2, 1 + i, (5, 5, 9 + i, 0 if i == 2 else 9)) for i in range(len(HOSTILE))]
    coco(root, [(name, 40, 30) for name in files], HOSTILE, boxes)
    _, page = object_page(root, tmp_path / 'a.html', masks=False)
    assert {*files} == {card.all('div', class_='name')[0].text for card in page.cards}
    names = [each.text for each in page.charts[0].all('span', class_='name')]
    assert sorted(names) == sorted(HOSTILE)
    assert not page.root.all('b') and len(page.root.all('script')) == 1
    for name in HOSTILE[:2]:
        assert name in page.charts[0].all('div', role='img')[0].attributes['aria-label']


@pytest.mark.parametrize('damage', SEMANTIC_MASKS)
def test_a_semantic_mask_with_an_issue_comes_first(generated, tmp_path, damage):
    root = shutil.copytree(generated.with_name('masks'), tmp_path / 'data')
    damage(sorted((root / 'annotations/val').iterdir())[2], np.random.default_rng(2))
    audit, page = mask_page(root, tmp_path / 'a.html')
    kind = SEMANTIC_MASKS[damage]
    assert kind in page.issues() and len(page.cards) == 8
    (issue,) = audit.issues.first(kind, 2)
    assert issue.detail in page.cards[0].text and 'val, 64 x 64' in page.cards[0].text
    assert not any(card.all(class_='badge') for card in page.cards[1:])
    for card in page.cards[1:]:
        assert 'ground' in card.all('div', class_='classes')[0].text


@pytest.mark.parametrize('size', [(40, 30), (2000, 3000)])
def test_a_single_pixel_out_of_range_is_marked(tmp_path, size):
    root = tmp_path / 'data'
    for folder in ('images', 'masks'):
        (root / folder).mkdir(parents=True)
    Image.new('RGB', size, (90, 120, 150)).save(root / 'images/a.jpg')
    labels = np.zeros(size[::-1], np.uint8)
    labels[: size[1] // 3] = 1
    Image.fromarray(labels).save(root / 'masks/a.png')
    (root / 'classes.txt').write_text('ground\ncrack')
    set_a_value_outside(root / 'masks/a.png', np.random.default_rng(0), side=1)
    y, x = np.argwhere(np.array(Image.open(root / 'masks/a.png')) == 77)[0]
    _, page = mask_page(root, tmp_path / 'a.html')
    image = shown_image(page.cards[0])
    rows, columns = np.nonzero(marked(image))
    assert abs(columns.mean() / image.shape[1] - x / size[0]) < 0.03
    assert abs(rows.mean() / image.shape[0] - y / size[1]) < 0.03
    assert 'mask: has the value 77 in 1 pixels' in page.cards[0].text


def test_pixels_out_of_range_are_a_class_of_their_own(generated, tmp_path):
    root = shutil.copytree(generated.with_name('masks'), tmp_path / 'data')
    path = sorted((root / 'annotations/val').iterdir())[0]
    labels = np.array(Image.open(path))
    labels[:, :32] = 77
    Image.fromarray(labels).save(path)
    _, page = mask_page(root, tmp_path / 'a.html')
    assert 'out of range 50 %' in page.cards[0].all('div', class_='classes')[0].text


def test_a_dataset_with_an_empty_split_has_a_page(tmp_path):
    root = tmp_path / 'data'
    root.mkdir()
    write_image(root / 'a.png')
    coco(root, [('a.png', 40, 30)], ['cat'], [(1, 1, (5, 5, 9, 9))])
    coco(root, [], ['cat'], [], split='val')
    _, page = object_page(root, tmp_path / 'a.html', masks=False)
    assert len(page.cards) == 1 and len(page.charts) == 5
    rows = [row.text for row in page.root.all('tr')]
    assert 'train 1 0 1 1' in rows and 'val 0 0 0 0' in rows


def test_a_dataset_without_images_has_a_page(tmp_path):
    root = tmp_path / 'data'
    root.mkdir()
    coco(root, [], ['cat'], [])
    _, page = object_page(root, tmp_path / 'a.html', masks=False)
    assert not page.cards and len(page.charts) == 1


def test_200_classes_are_all_on_the_page_most_of_them_folded(tmp_path):
    root = tmp_path / 'data'
    root.mkdir()
    write_image(root / 'a.png')
    classes = [f'物体 {index}' for index in range(200)]
    boxes = [(1, 1 + i, (2, 2, 5, 5)) for i in range(190) for _ in range(1 + (190 - i) // 19)]
    coco(root, [('a.png', 40, 30)], classes, boxes)
    _, page = object_page(root, tmp_path / 'a.html', masks=False)
    chart = page.charts[0]
    assert {each.text for each in chart.all('span', class_='name')} == set(classes)
    (folded,) = chart.all('details')
    assert folded.all('summary')[0].text == '140 more classes'
    facts = chart.all(role='img')[0].attributes['aria-label']
    assert facts.startswith('190 classes with objects; most: 物体 0 11 (')
    assert 'No objects: 物体 190' in facts
    assert '物体 0' in page.cards[0].all('div', class_='classes')[0].text


def test_many_large_photographs_stay_small(tmp_path):
    root = tmp_path / 'data'
    root.mkdir()
    rng = np.random.default_rng(0)
    # Noise at every scale, which compresses as badly as a photograph full of leaves.
    coarse = Image.fromarray(rng.integers(0, 256, (375, 500, 3), np.uint8)).resize((4000, 3000))
    fine = rng.integers(0, 40, (3000, 4000, 1), np.uint8)
    pixels = np.maximum(np.asarray(coarse), 40) - fine
    Image.fromarray(pixels).save(root / 'a.jpg', quality=90)
    coco(root, [('a.jpg', 4000, 3000)], ['cat'], [(1, 1, (500, 500, 3000, 2000))])
    _, page = object_page(root, tmp_path / 'a.html', masks=False)
    (image,) = page.cards[0].all('img')
    # At most forty cards.
    assert 40 * len(image.attributes['src'] + image.attributes['data-large']) < 15_000_000
    assert shown_image(page.cards[0]).shape[1] > 480


def test_decoders_print_nothing_while_the_page_is_written(tmp_path, capfd):
    root = tmp_path / 'data'
    root.mkdir()
    Image.fromarray(np.zeros((30, 40), np.float32)).save(root / 'a.tif')
    (root / 'b.png').write_bytes(write_image(root / 'c.png').read_bytes()[:-900])
    coco(root, [('a.tif', 40, 30), ('b.png', 40, 30)], ['cat'], [(1, 1, (5, 5, 9, 9))])
    audit = audit_objects(read_dataset(root), read_images=False, progress=False)
    write_object_page(audit, tmp_path / 'a.html', [(255, 0, 0)])
    assert capfd.readouterr() == ('', '')
    assert len(Page(tmp_path / 'a.html').cards) == 2


def test_an_image_that_would_need_gigabytes_is_named_but_not_decoded(tmp_path):
    root = tmp_path / 'data'
    root.mkdir()
    Image.new('1', (12000, 12000)).save(root / 'a.png')
    coco(root, [('a.png', 12000, 12000)], ['cat'], [(1, 1, (5, 5, 900, 900))])
    audit = audit_objects(read_dataset(root), read_images=False, progress=False)
    write_object_page(audit, tmp_path / 'a.html', [(255, 0, 0)])
    page = Page(tmp_path / 'a.html')
    check_page(page)
    assert 'This image cannot be shown' in page.cards[0].text
