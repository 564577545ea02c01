"""Small datasets in the formats of annotation tools, written by hand as the tools write them."""

import json
import os
from pathlib import Path

from images import write_image

from casvit_mm.datasets.audit.objects import audit_objects
from casvit_mm.datasets.formats.find import read_dataset
from casvit_mm.datasets.issues import Severity

SIZE = (96, 64)


def image(path, size=SIZE, seed=None):
    """Writes an image; another one for every name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_image(path, size=size, seed=sum(os.fsencode(path)) if seed is None else seed)


def text(path, content, encoding='utf-8', newline='\n'):
    """Writes a text file with the given line ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.replace('\n', newline).encode(encoding))
    return path


def voc_object(name, box=(10, 12, 40, 30), more=''):
    """An object of a VOC file."""
    corners = zip(('xmin', 'ymin', 'xmax', 'ymax'), box, strict=True)
    inside = ''.join(f'<{key}>{value}</{key}>' for key, value in corners)
    return f'<object><name>{name}</name><bndbox>{inside}</bndbox>{more}</object>'


def voc(path, *objects, size=SIZE, name='', declared=''):
    """The content of a VOC file."""
    stated = f'<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>'
    head = f'<?xml version="1.0" encoding="{declared}"?>\n' if declared else ''
    file_name = f'<filename>{name or Path(path).stem + ".jpg"}</filename>'
    return f'{head}<annotation>{file_name}{stated}\n{"".join(objects)}</annotation>\n'


def shape(label, points, kind='polygon', **more):
    """A shape of a LabelMe file."""
    return dict(label=label, points=points, shape_type=kind, group_id=None, flags={}) | more


def labelme(name, *shapes, size=SIZE, **more):
    """The content of a LabelMe file."""
    content = dict(version='5.5.0', flags={}, shapes=list(shapes), imagePath=name, imageData=None)
    return json.dumps(content | dict(imageWidth=size[0], imageHeight=size[1]) | more)


def contents(root, task='detection', **options):
    """Reads and audits a dataset; returns the dataset, images and objects by split, and errors."""
    dataset = read_dataset(root, task, **options)
    audit = audit_objects(dataset, masks=task == 'instance', progress=False)
    counts = {name: (facts.images, facts.objects) for name, facts in audit.facts.items()}
    return dataset, counts, audit.issues.of(Severity.ERROR)


def annotations(dataset, split=None):
    """The annotations of a split by the stem of their image, in order."""
    content = dataset.splits[split or next(iter(dataset.splits))].content
    stems = {i['id']: Path(i['file_name']).stem for i in content['images']}
    found = {stem: [] for stem in stems.values()}
    for annotation in content['annotations']:
        found[stems[annotation['image_id']]].append(annotation)
    return found


def noted(dataset, *words):
    """Whether one note has all of these words."""
    return any(all(word in note for word in words) for note in dataset.notes)
