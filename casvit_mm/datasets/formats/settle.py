"""Decides to which split images belong that lie outside all named splits."""

from casvit.sentences import count_of
from casvit_mm.datasets.formats.coco.merge import merged
from casvit_mm.datasets.formats.dataset import UNSPLIT, MaskDataset, ObjectDataset, ObjectSplit

Dataset = ObjectDataset | MaskDataset


def settle_splits(dataset: Dataset) -> Dataset:
    """Makes images outside the splits part of ``train``, if there are splits; changes the dataset.

    In a dataset of objects, only those with annotations, if there is a ``train`` already: the
    others may be anything.

    Args:
        dataset: The dataset as it was read.
    """
    if UNSPLIT not in dataset.splits or len(dataset.splits) == 1:
        return dataset
    if isinstance(dataset, MaskDataset):
        pairs = dataset.splits.pop(UNSPLIT)
        train = [*dataset.splits.pop('train', []), *pairs]
        dataset.splits = {'train': train, **dataset.splits}
        number = len(pairs)
    else:
        number = _settle_objects(dataset)
    if number:
        dataset.notes.append(f'{count_of(number, "image")} outside the splits are part of train.')
    return dataset


def _settle_objects(dataset: ObjectDataset) -> int:
    """The same for objects; returns the number of images that are part of train now."""
    unsplit = dataset.splits.pop(UNSPLIT)
    number = len(unsplit.content['images'])
    if 'train' in dataset.splits:
        unsplit = _annotated(unsplit)
        left = number - len(unsplit.content['images'])
        number -= left
        if left:
            dataset.notes.append(
                f'{count_of(left, "image")} outside the splits have no annotations and are left '
                'out.'
            )
        unsplit = merged(dataset.root, [dataset.splits.pop('train'), unsplit])
    dataset.splits = {'train': unsplit, **dataset.splits}
    return number


def _annotated(split: ObjectSplit) -> ObjectSplit:
    """The split without its background images."""
    content = split.content
    used = {annotation['image_id'] for annotation in content['annotations']}
    images = [image for image in content['images'] if image['id'] in used]
    return ObjectSplit({**content, 'images': images}, split.file, split.images)
