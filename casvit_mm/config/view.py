"""A uniform view of configs, whatever lists, wrappers and scopes they use."""

from collections.abc import Iterator, Mapping
from typing import Any

from casvit.tables import SPLITS
from casvit_mm.models.checkpoint.init_cfg import pretrained_files

# Parts of a detector whose num_classes is not the number of classes of the dataset.
_OTHER_COUNTS = frozenset(
    ('rpn_head', 'data_preprocessor', 'backbone', 'neck', 'semantic_head', 'panoptic_fusion_head')
)


_VISUALIZERS = {
    'mmdet': 'mmdet.DetLocalVisualizer',
    'mmseg': 'mmseg.SegLocalVisualizer',
    'mmpretrain': 'mmpretrain.UniversalVisualizer',
}


class ConfigView:
    """Read-only view of a config; it builds and changes nothing.

    Args:
        cfg (Mapping): The config, or a dict of its values.
    """

    def __init__(self, cfg: Mapping[str, Any]) -> None:
        self.cfg = cfg

    @property
    def scope(self) -> str:
        """The toolbox whose names it uses; mmdet by default."""
        return self.cfg.get('default_scope') or 'mmdet'

    @property
    def visualizer(self) -> str:
        """The type of the visualiser of its toolbox."""
        return _VISUALIZERS.get(self.scope, _VISUALIZERS['mmdet'])

    @property
    def model(self) -> Mapping[str, Any]:
        """Its model; empty if it has none."""
        return self.cfg.get('model') or {}

    @property
    def task(self) -> str:
        """The task of its model: detection, instance, semantic or classification."""
        if self.scope == 'mmseg':
            return 'semantic'
        if self.scope != 'mmdet':
            return 'classification'
        return 'instance' if _predicts_masks(self.model) else 'detection'

    def datasets(self, *splits: str) -> Iterator[dict[str, Any]]:
        """The datasets that read files, without the wrappers around them.

        Args:
            *splits: Splits whose datasets to yield: ``train``, ``val``, ``test``; by default all.

        Yields:
            Their dicts.
        """
        for split in splits or SPLITS:
            loader = self.cfg.get(f'{split}_dataloader')
            yield from _leaves(loader.get('dataset') if isinstance(loader, Mapping) else None)

    def evaluators(self, split: str) -> list[Any]:
        """The metrics of a split."""
        found = self.cfg.get(f'{split}_evaluator') or []
        return list(found) if isinstance(found, (list, tuple)) else [found]

    def test_dataset(self) -> dict[str, Any] | None:
        """The first test dataset with a pipeline, which defines how images are prepared."""
        return next((each for each in self.datasets('test') if each.get('pipeline')), None)

    def class_counts(self) -> Iterator[tuple[str, int]]:
        """Every ``num_classes`` that is the number of classes of the dataset.

        Yields:
            Dotted names and values.
        """
        for name, count, _ in _class_counts(self.model, 'model'):
            yield name, count

    def counts_that_matter(self) -> Iterator[tuple[str, int]]:
        """Those of :meth:`class_counts` that have to be right for a run.

        A head that predicts one mask for all classes works with any, unless mmdet's hook compares
        all of them.
        """
        hooks = self.cfg.get('custom_hooks') or []
        compared = any('NumClassCheckHook' in type_name(hook) for hook in hooks)
        for name, count, agnostic in _class_counts(self.model, 'model'):
            if compared or not agnostic:
                yield name, count

    def pretrained_files(self) -> Iterator[tuple[str, str, str]]:
        """The pretrained weights of the backbone and of the model.

        Yields:
            The dotted name of the part, its file, and the option that sets another file.

        Raises:
            CheckpointError: An ``init_cfg`` is invalid, or names no file.
        """
        for part, key in ((self.model.get('backbone'), 'model.backbone'), (self.model, 'model')):
            if isinstance(part, Mapping):
                for file, option in pretrained_files(part.get('init_cfg'), f'{key}.init_cfg'):
                    yield key, file, option


def nested(node: Any) -> Iterator[Mapping[str, Any]]:
    """Yields every dict in a part of a config, the outer ones first, also inside lists."""
    if isinstance(node, Mapping):
        yield node
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        for each in node:
            yield from nested(each)


def as_list(value: Any) -> list[Any]:
    """Returns a list for a config value that may be one dict or a list of them."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


def type_name(part: Mapping[str, Any]) -> str:
    """The name of the type of a part, given with or without a scope, or as a class."""
    kind = part.get('type')
    return kind.rsplit('.', 1)[-1] if isinstance(kind, str) else getattr(kind, '__name__', '')


def _predicts_masks(model: Mapping[str, Any]) -> bool:
    """Whether a detector of mmdet predicts masks, in a head of their own or with the boxes."""
    parts = (model, model.get('roi_head'))
    heads = {key for part in parts if isinstance(part, Mapping) for key in part if part[key]}
    bbox_head = model.get('bbox_head')
    with_boxes = isinstance(bbox_head, Mapping) and type_name(bbox_head).startswith('RTMDetIns')
    return with_boxes or bool(heads & {'mask_head', 'panoptic_head'})


def _leaves(dataset: Any) -> Iterator[dict[str, Any]]:
    if isinstance(dataset, (list, tuple)):
        for part in dataset:
            yield from _leaves(part)
    elif isinstance(dataset, dict):
        # Names of mmengine's wrappers: RepeatDataset has one dataset, ConcatDataset several.
        inner = [dataset[key] for key in ('dataset', 'datasets') if key in dataset]
        if not inner:
            yield dataset
        for part in inner:
            yield from _leaves(part)


def _class_counts(node: Any, path: str) -> Iterator[tuple[str, int, bool]]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key == 'num_classes' and isinstance(value, int):
                yield f'{path}.num_classes', value, bool(node.get('class_agnostic'))
            elif key not in _OTHER_COUNTS:
                yield from _class_counts(value, f'{path}.{key}')
    elif isinstance(node, (list, tuple)):
        for index, value in enumerate(node):
            yield from _class_counts(value, f'{path}.{index}')
