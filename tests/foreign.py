"""Small datasets in the formats of other tools, written by hand as those tools write them.

Every function writes images and annotations into a folder, and returns the objects in it: by split,
the file name of the image, the class, and the box as x, y, width, height.
"""

import csv
import json
import pickle
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 96, 64


def image(path: Path) -> Path:
    """Writes an image of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(path.name)).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    Image.fromarray(noise).save(path)
    return path


def text(path: Path, content: str) -> Path:
    """Writes a text file and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding='utf-8')
    return path


def table(path: Path, *rows: list[object]) -> Path:
    """Writes a CSV file and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('w', newline='', encoding='utf-8') as file:
        csv.writer(file).writerows(rows)
    return path


def kitti(root: Path):
    """KITTI's object detection, with its names of six digits and a region to ignore."""
    for name in ('000000', '000001'):
        image(root / f'training/image_2/{name}.png')
    zeros = '-1 -1 -1 -1000 -1000 -1000 -10'
    lines = [
        f'Car 0.00 0 -1.57 10.00 12.00 40.00 32.00 {zeros}',
        f'DontCare -1 -1 -10 50.00 5.00 60.00 15.00 {zeros}',
    ]
    text(root / 'training/label_2/000000.txt', '\n'.join(lines) + '\n')
    text(
        root / 'training/label_2/000001.txt',
        f'Pedestrian 0.00 1 0.20 20.00 10.00 30.00 50.00 {zeros}\n',
    )
    return [
        ('train', '000000.png', 'Car', (10, 12, 30, 20)),
        ('train', '000001.png', 'Pedestrian', (20, 10, 10, 40)),
    ]


def wider_face(root: Path):
    """WIDER Face, with an invalid face, and a file name without faces."""
    image(root / 'WIDER_train/images/0--Parade/0_Parade_a.jpg')
    image(root / 'WIDER_val/images/1--Handshaking/1_Handshaking_b.jpg')
    text(
        root / 'wider_face_split/wider_face_train_bbx_gt.txt',
        '0--Parade/0_Parade_a.jpg\n2\n10 12 20 22 0 0 0 0 0 0 \n50 10 8 8 2 0 0 1 0 0 \n',
    )
    text(
        root / 'wider_face_split/wider_face_val_bbx_gt.txt',
        '1--Handshaking/1_Handshaking_b.jpg\n1\n30 20 15 25 0 0 0 0 0 0 \n',
    )
    text(root / 'wider_face_split/wider_face_test_filelist.txt', '')
    text(root / 'wider_face_split/readme.txt', 'Attached the mappings between ...\n')
    return [
        ('train', '0_Parade_a.jpg', 'face', (10, 12, 20, 22)),
        ('val', '1_Handshaking_b.jpg', 'face', (30, 20, 15, 25)),
    ]


def mot(root: Path):
    """MOT17: two frames, one track, and a row that is not to be evaluated."""
    sequence = root / 'train/MOT17-02'
    for frame in (1, 2):
        image(sequence / f'img1/{frame:06d}.jpg')
    text(
        sequence / 'seqinfo.ini',
        '[Sequence]\nname=MOT17-02\nimDir=img1\nframeRate=30\nseqLength=2\n'
        f'imWidth={WIDTH}\nimHeight={HEIGHT}\nimExt=.jpg\n',
    )
    text(
        sequence / 'gt/gt.txt',
        '1,1,10,12,20,30,1,1,1.0\n2,1,12,12,20,30,1,1,0.5\n2,2,50,10,9,9,0,8,1.0\n',
    )
    return [
        ('train', '000001.jpg', 'pedestrian', (10, 12, 20, 30)),
        ('train', '000002.jpg', 'pedestrian', (12, 12, 20, 30)),
    ]


def vott_csv(root: Path):
    """VoTT's CSV export."""
    for name in ('a.jpg', 'b.jpg'):
        image(root / f'vott-csv-export/{name}')
    table(
        root / 'vott-csv-export/things-export.csv',
        ['image', 'xmin', 'ymin', 'xmax', 'ymax', 'label'],
        ['a.jpg', 10.0, 12.0, 40.0, 32.0, 'cat'],
        ['a.jpg', 50.0, 10.0, 60.0, 30.0, 'dog'],
        ['b.jpg', 5.0, 6.0, 25.0, 36.0, 'cat'],
    )
    return [
        ('all', 'a.jpg', 'cat', (10, 12, 30, 20)),
        ('all', 'a.jpg', 'dog', (50, 10, 10, 20)),
        ('all', 'b.jpg', 'cat', (5, 6, 20, 30)),
    ]


def vott_json(root: Path):
    """VoTT's JSON export, with paths of the machine that it was made on."""
    image(root / 'vott-json-export/a.jpg')
    asset = dict(
        asset=dict(name='a.jpg', path='file:C:/Users/me/a.jpg', size=dict(width=WIDTH)),
        regions=[
            dict(
                id='r1',
                type='RECTANGLE',
                tags=['cat'],
                boundingBox=dict(left=10, top=12, width=30, height=20),
                points=[],
            )
        ],
        version='2.1.0',
    )
    content = dict(name='things', tags=[dict(name='cat'), dict(name='dog')], assets=dict(q=asset))
    text(root / 'vott-json-export/things-export.json', json.dumps(content))
    return [('all', 'a.jpg', 'cat', (10, 12, 30, 20))]


def create_ml(root: Path):
    """CreateML as Roboflow exports it: x and y are the centre of a box."""
    for split in ('train', 'valid'):
        image(root / split / 'a.jpg')
        box = dict(label='cat', coordinates=dict(x=25, y=22, width=30, height=20))
        content = [dict(image='a.jpg', annotations=[box])]
        text(root / split / '_annotations.createml.json', json.dumps(content))
    return [(split, 'a.jpg', 'cat', (10, 12, 30, 20)) for split in ('train', 'val')]


def dota(root: Path):
    """DOTA: four corners, a class and a difficulty for each object."""
    image(root / 'train/images/P0001.png')
    text(
        root / 'train/labelTxt/P0001.txt',
        'imagesource:GoogleEarth\ngsd:0.146\n'
        '10.0 12.0 40.0 12.0 40.0 32.0 10.0 32.0 small-vehicle 0\n'
        '50.0 20.0 60.0 10.0 70.0 20.0 60.0 30.0 plane 1\n',
    )
    return [
        ('train', 'P0001.png', 'small-vehicle', (10, 12, 30, 20)),
        ('train', 'P0001.png', 'plane', (50, 10, 20, 20)),
    ]


def open_images(root: Path):
    """Open Images: boxes as shares of the image, classes by id, and a group of objects."""
    for split, name in (('train', 'aa'), ('validation', 'bb')):
        image(root / f'images/{split}/{name}.jpg')
    table(
        root / 'annotations/class-descriptions-boxable.csv',
        ['/m/01yrx', 'Cat'],
        ['/m/0bt9lr', 'Dog'],
        ['/m/01g317', 'Person'],
    )
    flags = ['IsOccluded', 'IsTruncated', 'IsGroupOf', 'IsDepiction', 'IsInside']
    head = ['ImageID', 'Source', 'LabelName', 'Confidence', 'XMin', 'XMax', 'YMin', 'YMax', *flags]
    table(
        root / 'annotations/train-annotations-bbox.csv',
        head,
        ['aa', 'xclick', '/m/01yrx', 1, 0.25, 0.5, 0.25, 0.75, 0, 0, 0, 0, 0],
        ['aa', 'xclick', '/m/0bt9lr', 1, 0.5, 1, 0, 0.5, 1, 0, 1, 0, 0],
    )
    table(
        root / 'annotations/validation-annotations-bbox.csv',
        head,
        ['bb', 'xclick', '/m/01yrx', 1, 0, 0.25, 0, 0.25, 0, 0, 0, 0, 0],
    )
    return [
        ('train', 'aa.jpg', 'Cat', (24, 16, 24, 32)),
        ('train', 'aa.jpg', 'Dog', (48, 0, 48, 32)),
        ('val', 'bb.jpg', 'Cat', (0, 0, 24, 16)),
    ]


def labelme_xml(root: Path):
    """The XML of the first LabelMe: a polygon, a box, and a deleted object."""
    image(root / 'Images/scene/a.jpg')

    def shape(number: int, name: str, points: list[tuple[int, int]], more: str = '') -> str:
        inside = ''.join(f'<pt><x>{x}</x><y>{y}</y></pt>' for x, y in points)
        return (
            f'<object><name>{name}</name><deleted>{int("deleted" in more)}</deleted>'
            f'<id>{number}</id>{more if "type" in more else ""}'
            f'<polygon><username>me</username>{inside}</polygon></object>'
        )

    box = [(50, 10), (60, 10), (60, 30), (50, 30)]
    text(
        root / 'Annotations/scene/a.xml',
        '<annotation><filename>a.jpg</filename><folder>scene</folder>'
        + shape(0, 'cat', [(10, 12), (40, 12), (20, 32)])
        + shape(1, 'dog', box, '<type>bounding_box</type>')
        + shape(2, 'dog', box, 'deleted')
        + f'<imagesize><nrows>{HEIGHT}</nrows><ncols>{WIDTH}</ncols></imagesize></annotation>',
    )
    return [
        ('all', 'a.jpg', 'cat', (10, 12, 30, 20)),
        ('all', 'a.jpg', 'dog', (50, 10, 10, 20)),
    ]


READ = {
    'KITTI': kitti,
    'WIDER Face': wider_face,
    'MOT': mot,
    'VoTT CSV': vott_csv,
    'VoTT JSON': vott_json,
    'CreateML JSON': create_ml,
    'DOTA': dota,
    'Open Images': open_images,
    'LabelMe XML': labelme_xml,
}
"""What writes each format that is read, by its display name."""


def _via() -> dict[str, object]:
    region = dict(
        shape_attributes=dict(name='rect', x=10, y=12, width=30, height=20),
        region_attributes=dict(kind='cat'),
    )
    return {
        'a.jpg123': dict(filename='a.jpg', size=123, regions=[region], file_attributes={}),
    }


def _json(name: str, content: object):
    return lambda root: text(root / name, json.dumps(content))


NAMED = {
    'VGG Image Annotator (VIA) JSON': _json('via_region_data.json', _via()),
    'VGG Image Annotator (VIA) JSON ': _json(
        'project.json', dict(_via_settings=dict(ui={}), _via_img_metadata=_via())
    ),
    'VGG Image Annotator (VIA) CSV': lambda root: table(
        root / 'via_export_csv.csv',
        [
            '#filename', 'file_size', 'file_attributes', 'region_count', 'region_id',
            'region_shape_attributes', 'region_attributes',
        ],
        ['a.jpg', 123, '{}', 1, 0, '{"name":"rect","x":10}', '{"kind":"cat"}'],
    ),
    'Label Studio JSON': _json(
        'project-1.json',
        [
            dict(
                id=1,
                data=dict(image='/data/upload/1/a.jpg'),
                annotations=[
                    dict(
                        result=[
                            dict(
                                original_width=WIDTH,
                                original_height=HEIGHT,
                                value=dict(x=1, rectanglelabels=['cat']),
                                from_name='label',
                                to_name='image',
                                type='rectanglelabels',
                            )
                        ]
                    )
                ],
            )
        ],
    ),
    'Label Studio JSON-MIN': _json(
        'min.json', [dict(image='a.jpg', label=[dict(rectanglelabels=['cat'], original_width=96)])]
    ),
    'Supervisely JSON': _json(
        'ds1/ann/a.jpg.json',
        dict(description='', tags=[], size=dict(height=HEIGHT, width=WIDTH), objects=[]),
    ),
    'BDD100K (Scalabel JSON)': _json(
        'labels/det_train.json',
        [dict(name='a.jpg', labels=[dict(category='car', box2d=dict(x1=1, y1=2, x2=3, y2=4))])],
    ),
    'Darwin (V7) JSON': _json(
        'a.json',
        dict(version='2.0', schema_ref='https://…/darwin', item=dict(name='a'), annotations=[]),
    ),
    'Labelbox JSON': _json('export.ndjson', dict(data_row=dict(id='x'), projects={})),
    'TensorFlow object detection CSV': lambda root: table(
        root / 'train/_annotations.csv',
        ['filename', 'width', 'height', 'class', 'xmin', 'ymin', 'xmax', 'ymax'],
        ['a.jpg', 96, 64, 'cat', 1, 2, 3, 4],
    ),
    'TFRecord': lambda root: text(root / 'train.tfrecord-00000-of-00010', 'x'),
    'CelebA': lambda root: text(root / 'Anno/list_bbox_celeba.txt', '1\nimage_id x_1 y_1\n'),
}  # fmt: skip
"""What writes each format that is only named, by its display name."""


class Hostile:
    """An object whose pickle runs a command that creates a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        import os

        return os.system, (f'touch {self.mark}',)


def pickled(root: Path, mark: Path) -> None:
    """CIFAR-10 as downloaded, whose files are pickles: these run a command if they are loaded."""
    for name in ('data_batch_1', 'batches.meta', 'test_batch'):
        root.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(pickle.dumps(Hostile(mark)))
