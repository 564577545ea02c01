"""Real photographs with three classes, written in the formats of annotation tools."""

import json
import shutil
import warnings
from pathlib import Path

CLASSES = ('person', 'chair', 'bottle')


def as_coco(photographs: Path, out: Path) -> Path:
    """Writes COCO's own layout, with only the three classes."""
    for split in ('train', 'val'):
        source = photographs / 'coco_mini'
        content = json.loads((source / f'annotations/instances_{split}2017.json').read_text())
        content['categories'] = [c for c in content['categories'] if c['name'] in CLASSES]
        kept = {category['id'] for category in content['categories']}
        content['annotations'] = [a for a in content['annotations'] if a['category_id'] in kept]
        (out / 'annotations').mkdir(parents=True, exist_ok=True)
        (out / f'annotations/instances_{split}.json').write_text(json.dumps(content))
        (out / split).mkdir()
        for image in content['images']:
            shutil.copyfile(
                source / f'{split}2017' / image['file_name'], out / split / image['file_name']
            )
    return out


def as_roboflow(coco: Path, out: Path) -> Path:
    """Writes COCO as Roboflow does: files next to the images, and a parent of all categories."""
    for split, name in (('train', 'train'), ('val', 'valid')):
        content = json.loads((coco / f'annotations/instances_{split}.json').read_text())
        for category in content['categories']:
            category['supercategory'] = 'things'
        content['categories'].insert(0, dict(id=0, name='things', supercategory='none'))
        shutil.copytree(coco / split, out / name)
        (out / name / '_annotations.coco.json').write_text(json.dumps(content))
    return out


def as_label_studio(coco: Path, out: Path) -> Path:
    """Writes COCO as Label Studio does: one result.json, with paths of another machine."""
    content = json.loads((coco / 'annotations/instances_train.json').read_text())
    for image in content['images']:
        image['file_name'] = f'..\\..\\label-studio\\media\\upload\\1\\{image["file_name"]}'
    shutil.copytree(coco / 'train', out / 'images')
    (out / 'result.json').write_text(json.dumps(content))
    return out


def _splits(coco: Path):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        import supervision
    for split in ('train', 'val'):
        yield (
            split,
            supervision.DetectionDataset.from_coco(
                str(coco / split),
                str(coco / f'annotations/instances_{split}.json'),
                force_masks=True,
            ),
        )


def as_voc(coco: Path, out: Path) -> Path:
    """Writes VOC as Roboflow does: XML files next to the images."""
    for split, dataset in _splits(coco):
        folder = str(out / split)
        dataset.as_pascal_voc(folder, folder, approximation_percentage=0)
    return out


def as_voc_devkit(coco: Path, out: Path) -> Path:
    """Writes VOC's own layout, with lists of the images in each split."""
    (out / 'ImageSets/Main').mkdir(parents=True)
    for split, dataset in _splits(coco):
        dataset.as_pascal_voc(str(out / 'JPEGImages'), str(out / 'Annotations'))
        stems = sorted(path.stem for path in (coco / split).iterdir())
        (out / f'ImageSets/Main/{split}.txt').write_text('\n'.join(stems))
    return out


def as_yolo(coco: Path, out: Path) -> Path:
    """Writes the layout of Ultralytics, with polygons."""
    for split, dataset in _splits(coco):
        dataset.as_yolo(
            str(out / 'images' / split), str(out / 'labels' / split), str(out / 'data.yaml'),
            approximation_percentage=0,
        )  # fmt: skip
    names = '\n'.join(f'  {i}: {name}' for i, name in enumerate(dataset.classes))
    (out / 'data.yaml').write_text(
        f'path: /somewhere/else\ntrain: images/train\nval: images/val\nnames:\n{names}\n'
    )
    return out


def as_labelme(coco: Path, out: Path) -> Path:
    """Writes LabelMe JSON files next to the images."""
    for split, dataset in _splits(coco):
        dataset.as_labelme(str(out / split), str(out / split))
    return out


EXPORTS = {
    'roboflow': as_roboflow,
    'label studio': as_label_studio,
    'voc': as_voc,
    'voc devkit': as_voc_devkit,
    'yolo': as_yolo,
    'labelme': as_labelme,
}
