"""What is said of a dataset that cannot be read, repaired or trained on: which file, and why."""

import base64
import io
import json
import os
import shutil

import numpy as np
import pytest
from class_folders import write_classes
from labelled import image, labelme, shape, text
from PIL import Image
from quick_runs import run_tool
from semantic_data import write_pairs
from unreadable import needs_linux, unreadable_file, unreadable_folder


def yolo(root):
    for split in ('train', 'val'):
        for number in range(2):
            image(root / f'images/{split}/{number}.jpg')
            text(root / f'labels/{split}/{number}.txt', '0 .5 .5 .3 .3\n')
    text(root / 'data.yaml', 'train: images/train\nval: images/val\nnames: [a]\n')


def coco(root, name='train', annotated=True, content=None):
    for number in range(2):
        image(root / name / f'{number}.jpg')
    images = [dict(id=i, file_name=f'{i}.jpg', width=96, height=64) for i in range(2)]
    box = dict(id=1, image_id=0, category_id=1, bbox=[1, 1, 20, 20], area=400, iscrowd=0)
    categories = [dict(id=1, name='a')]
    whole = dict(images=images, annotations=[box] if annotated else [], categories=categories)
    text(root / f'annotations/{name}.json', content or json.dumps(whole))


def of_labelme(root, *shapes, size=(96, 64)):
    shapes = shapes or (shape('cat', [[1, 1], [30, 1], [30, 30]]),)
    image(root / '0.jpg')
    text(root / '0.json', labelme('0.jpg', *shapes, size=size))


def mask(**more):
    """A LabelMe mask of 10 x 10 pixels."""
    file = io.BytesIO()
    Image.fromarray(np.full((10, 10), 255, np.uint8)).save(file, 'PNG')
    content = base64.b64encode(file.getvalue()).decode()
    return shape('cat', [[1, 1], [10, 10]], 'mask', mask=content, **more)


def coloured(root):
    write_pairs(root)
    colours = np.array([(0, 0, 0), (255, 0, 0), (0, 255, 0)], np.uint8)
    for path in (root / 'labels').rglob('*.png'):
        Image.fromarray(colours[np.asarray(Image.open(path))]).save(path)


def legend(content):
    def write(root):
        coloured(root)
        text(root.parent / 'legend.txt', content)

    return write


def broken_images_of(*folders):
    def write(root):
        write_classes(root, ('a', 'b'))
        for folder in folders:
            for number, path in enumerate(sorted((root / folder).rglob('*.*'))):
                path.write_bytes(f'{folder} {number}'.encode())

    return write


def with_large_image(root):
    write_classes(root)
    (root / 'train/cat/large.jpg').touch()
    os.truncate(root / 'train/cat/large.jpg', 2**31)


def with_large_labelme(root):
    of_labelme(root)
    image(root / '1.jpg')
    shutil.copy(root / '0.json', root / '1.json')
    os.truncate(root / '1.json', 2**26 + 10)


def with_mask_of_a_huge_image(root):
    of_labelme(root, mask(), size=(2**15, 2**15))


def with_endless_polygon(root):
    points = [[i % 2 * 15_900, i % 2 * 15_900] for i in range(60_000)]
    of_labelme(root, mask(group_id=1), shape('cat', points, group_id=1), size=(16_000, 16_000))


def with_labelme_of_another_place(root):
    of_labelme(root)
    text(root / 'x.json', labelme('/elsewhere/y.jpg', shape('cat', [[1, 1], [9, 1], [9, 9]])))


def with_unclear_split(root):
    coco(root)
    coco(root, 'objects')


def with_unreadable_coco(root):
    coco(root)
    unreadable_file(root / 'annotations/val.json')


def with_unreadable_folder(root):
    yolo(root)
    unreadable_folder(root / 'deep')


def with_unreadable_hidden_folder(root):
    write_classes(root)
    unreadable_folder(root / 'train/.deep')


def with_unreadable_names(root):
    yolo(root)
    unreadable_file(root / 'classes.txt')


def with_unreadable_list_of_a_split(root):
    yolo(root)
    text(root / 'data.yaml', 'train: train.txt\nval: images/val\nnames: [a]\n')
    unreadable_file(root / 'train.txt')


def with_unreadable_lists(root):
    write_pairs(root, image='JPEGImages/{name}.jpg', mask='SegmentationClass/{name}.png')
    unreadable_file(root / 'ImageSets/Segmentation/train.txt')


def with_binary_darknet(root):
    yolo(root)
    (root / 'data.yaml').unlink()
    text(root / 'obj.names', 'a\n')
    (root / 'obj.data').write_bytes(b'\xff\xfe\x00')


def with_masks_of_four_colours(root):
    write_pairs(root)
    path = root / 'labels/train/train_000.png'
    Image.open(path).convert('CMYK').save(path, 'TIFF')


def with_damaged_mask(root):
    write_pairs(root)
    path = root / 'labels/train/train_000.png'
    Image.open(path).save(path, 'PPM')
    path.write_bytes(path.read_bytes()[:11] + b'x y z')


def only(split):
    def write(root):
        write_classes(root, splits=(split,))

    return write


def with_odd_name(root):
    write_classes(root)
    path = next((root / 'train/cat').glob('*.*'))
    path.rename(path.with_name(f'a\x0bb{path.suffix}'))


CLASSES = '--task classification'
SEMANTIC = '--task semantic'
LEGEND = f'check DATA {SEMANTIC} --legend'
CASES = [
    (broken_images_of('val'), f'check DATA {CLASSES} --fix OUT', 'in the split val: all of its im'),
    (
        broken_images_of('train/a', 'val/b'),
        f'check DATA {CLASSES} --fix OUT --allow-loss 1',
        'no class has images in every split (train and val). Move some images of each class',
    ),
    (yolo, 'check DATA --fix DATA/data.yaml/out', 'data.yaml is a file, not a folder.'),
    (with_large_image, f'check DATA {CLASSES}', '2,147,483,648 bytes, which is too large'),
    (
        with_labelme_of_another_place,
        'check DATA --fix OUT',
        'cannot be repaired while it has annotation files that belong to no image: ',
    ),
    (with_large_labelme, 'check DATA', '1.json has more than 64 MiB without its image'),
    (with_mask_of_a_huge_image, 'check DATA', 'a mask in an image of 32768x32768 pixels, which is'),
    (with_endless_polygon, 'check DATA', 'shapes[1] has a polygon that goes back and forth'),
    (
        lambda root: coco(root, content='{"images": [], "annotations": ' + '[' * 100_000),
        'check DATA',
        'train.json cannot be read: its lists are nested too deeply.',
    ),
    (
        lambda root: coco(root, content='{"images": [], "categories": [' + '1' * 5000 + ']}'),
        'check DATA',
        'train.json cannot be read: a number has too many digits.',
    ),
    (with_unclear_split, 'check DATA', "objects.json is for, beside '"),
    (yolo, 'check DATA --images .', 'by name, but the format of DATA is yolo: leave it out.'),
    (with_binary_darknet, 'check DATA', 'obj.data starts like UTF-16 text, but is not'),
    (legend('ground\ncat\ndog\n'), f'{LEGEND} LEGEND', "no colour for 'ground': write one class"),
    (
        legend('0 0 0 ground\n255 0 0 cat\n255 0 0 dog\n'),
        f'{LEGEND} LEGEND',
        "the colour (255, 0, 0) twice, the second time for 'dog'",
    ),
    (coloured, f'{LEGEND} LEGEND', 'legend.txt cannot be read: No such file or directory.'),
    (with_masks_of_four_colours, f'check DATA {SEMANTIC}', 'is a colour image (mode CMYK)'),
    (with_damaged_mask, f'check DATA {SEMANTIC}', 'train_000.png cannot be read: '),
    (only('val'), f'finetune DATA {CLASSES}', 'no images to train on, only those of val. Name the'),
    (only('test'), f'finetune DATA {CLASSES}', 'no images to train on, only those of test. Name'),
    (lambda root: coco(root, 'val'), 'finetune DATA --task detection', 'only those of val. Name'),
    (
        lambda root: write_pairs(root, splits=('val', 'test')),
        f'finetune DATA {SEMANTIC}',
        'only those of val and test. Name the folder, list or annotation file',
    ),
    (
        lambda root: coco(root, annotated=False),
        'finetune DATA --task detection',
        'The dataset has 1 error (above).',
    ),
    (with_odd_name, f'finetune DATA {CLASSES}', "image 'cat/a\\x0bb"),
]
UNREADABLE = [
    (with_unreadable_coco, 'check DATA', 'val.json cannot be read: Input/output error.'),
    (with_unreadable_folder, 'check DATA', 'cannot be read: File name too long.'),
    (with_unreadable_hidden_folder, f'check DATA {CLASSES}', 'cannot be read: File name too long.'),
    (with_unreadable_names, 'check DATA', 'classes.txt cannot be read: Input/output error.'),
    (with_unreadable_list_of_a_split, 'check DATA', 'error: 1 x annotations that cannot be read.'),
    (with_unreadable_lists, f'check DATA {SEMANTIC}', 'train.txt cannot be read: Input/output'),
]


@pytest.mark.parametrize(
    ('write', 'line', 'said'),
    [*CASES, *(pytest.param(*case, marks=needs_linux) for case in UNREADABLE)],
    ids=[said for *_, said in (*CASES, *UNREADABLE)],
)
def test_a_fault_of_a_dataset_is_a_sentence_with_its_file(
    write, line, said, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    root = tmp_path / 'data'
    root.mkdir()
    write(root)
    words = dict(DATA=str(root), OUT=str(tmp_path / 'out'), LEGEND=str(tmp_path / 'legend.txt'))
    name, *arguments = line.split()
    for word, path in words.items():
        arguments = [argument.replace(word, path) for argument in arguments]
    assert run_tool(name, arguments) == 2
    answer = capsys.readouterr()
    printed = answer.err + answer.out
    assert said.replace('DATA', str(root)) in printed and 'Traceback' not in printed, printed
    # Their paths are longer than what tools that delete old folders can handle.
    for deep in (root / 'deep', root / 'train/.deep'):
        shutil.rmtree(deep, ignore_errors=True)
