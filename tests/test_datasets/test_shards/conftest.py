"""A small dataset in files and in shards."""

import json

import numpy as np
import pytest
from images import write_image
from PIL import Image
from shard_server import serving

from casvit_mm.datasets.formats.find import read_dataset
from casvit_mm.datasets.shards import content, sources
from casvit_mm.datasets.shards.plan import plan_of
from casvit_mm.datasets.shards.write import write_shards

NAMES = ('a.jpg', 'b.png', 'with space.jpg', 'größe/東京 #1%20.png', 'z' * 150 + '.jpg')


@pytest.fixture
def dataset(tmp_path):
    """A COCO dataset with images of odd names."""
    root = tmp_path / 'data'
    images, annotations = [], []
    for number, name in enumerate(NAMES, 1):
        path = root / 'train' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path, seed=number)
        images.append(dict(id=number, file_name=name, width=40, height=30))
        annotations.append(
            dict(
                id=number,
                image_id=number,
                category_id=1,
                bbox=[2, 2, 20, 20],
                area=400,
                iscrowd=0,
                segmentation=[[2, 2, 22, 2, 22, 22, 2, 22]],
            )
        )
    coco = dict(images=images, annotations=annotations, categories=[dict(id=1, name='thing')])
    file = root / 'annotations' / 'instances_train.json'
    file.parent.mkdir()
    file.write_text(json.dumps(coco))
    return root


@pytest.fixture
def shards(dataset, tmp_path):
    """The same in shards of about two images each."""
    out = tmp_path / 'coco.shards'
    write_shards(plan_of(read_dataset(dataset)), out, 6000)
    return out


@pytest.fixture
def mask_dataset(tmp_path):
    """Images with semantic masks of 16 bits."""
    root = tmp_path / 'masks'
    for number in range(4):
        name = f'street {number}'
        for split in ('train', 'val'):
            for folder in ('images', 'annotations'):
                (root / folder / split).mkdir(parents=True, exist_ok=True)
            write_image(root / 'images' / split / f'{name}.jpg', seed=number)
            labels = np.zeros((30, 40), np.uint16)
            labels[5:20, number : number + 12] = 1
            labels[22:28, 5:30] = 2
            Image.fromarray(labels).save(root / 'annotations' / split / f'{name}.png')
    (root / 'classes.txt').write_text('ground\nroad\nhouse\n')
    return root


@pytest.fixture
def server(tmp_path):
    """A web server for the folder of the datasets."""
    with serving(tmp_path) as (host, behaviour):
        yield host, behaviour


@pytest.fixture(autouse=True)
def new_process(monkeypatch):
    """Forgets what was opened before, and pauses for milliseconds."""
    content._opened.clear()
    monkeypatch.setattr(sources, 'FIRST_PAUSE', 0.01)
