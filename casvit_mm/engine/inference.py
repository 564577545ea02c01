"""A trained model, ready to be shown pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import DATASETS, MODELS, init_default_scope
from torch import nn

from casvit_mm.engine.detections import Detections, LocalMask
from casvit_mm.engine.label_map import LabelMap
from casvit_mm.models.checkpoint import load_into, read_checkpoint
from casvit_mm.models.checkpoint_meta import is_palette
from casvit_mm.registration import registered_class


def trained_model(cfg: Config, checkpoint: str) -> tuple[nn.Module, dict[str, Any]]:
    """Builds the model of a config with the weights of a file, in eval mode on the CPU.

    Args:
        cfg: Config of a detector, segmentor or classifier.
        checkpoint: Its weights, all of them, in any layout that
            :func:`casvit_mm.models.checkpoint.read_checkpoint` knows.

    Returns:
        The model, and the content of the file.

    Raises:
        CheckpointError: The weights cannot be read or do not fit.
    """
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    model_cfg = cfg.model.copy()
    if model_cfg.get('backbone'):
        model_cfg.backbone = {**model_cfg.backbone, 'init_cfg': None}
    model = revert_sync_batchnorm(MODELS.build(model_cfg))
    content = read_checkpoint(checkpoint)
    load_into(model, content, strict=True, source=str(checkpoint))
    return model.eval(), content


class ImageModel:
    """A trained model with its weights and its test pipeline.

    Args:
        cfg (Config): Config of the model.
        checkpoint (str): Its weights, in any layout that
            :func:`casvit_mm.models.checkpoint.read_checkpoint` knows.
        device (str): Where to run. Defaults to 'cpu'.

    Raises:
        CheckpointError: The weights cannot be read or do not fit.

    Attributes:
        classes (tuple[str]): Names of the classes.
        palette (list[tuple[int]]): An RGB colour for each class.
    """

    def __init__(self, cfg: Config, checkpoint: str, *, device: str = 'cpu') -> None:
        self.model, content = trained_model(cfg, checkpoint)
        self.model.to(device)
        scope = cfg.get('default_scope', 'mmdet')
        self.pipeline = Compose(_pipeline(cfg, scope))
        meta = _metainfo(cfg, content, scope, _class_count(self.model))
        self.classes = tuple(meta['classes'])
        self.palette = _palette(meta.get('palette'), len(self.classes))

    def _predict(self, images: Sequence[np.ndarray]) -> list[Any]:
        """The data samples that the model answers for BGR pictures."""
        items = [self.pipeline(dict(img=image, img_id=0)) for image in images]
        batch = {key: [item[key] for item in items] for key in ('inputs', 'data_samples')}
        return self.model.test_step(batch)


class ImageDetector(ImageModel):
    """A detector of mmdet.

    Args:
        cfg (Config): As for :class:`ImageModel`, like ``checkpoint`` and ``device``.
        score_thr (float): Detections below this score are left out. Defaults to 0.3.
    """

    def __init__(
        self, cfg: Config, checkpoint: str, *, device: str = 'cpu', score_thr: float = 0.3
    ) -> None:
        super().__init__(cfg, checkpoint, device=device)
        self.score_thr = score_thr

    @torch.no_grad()
    def __call__(self, images: Sequence[np.ndarray]) -> list[Detections]:
        """Detects.

        Args:
            images: BGR pictures, of any sizes. Shape: ``(H, W, 3)`` each, uint8.

        Returns:
            The detections of each, in its own pixels.
        """
        return [self._detections(sample) for sample in self._predict(images)]

    def _detections(self, sample: Any) -> Detections:
        found = sample.pred_instances
        found = found[found.scores >= self.score_thr]
        masks = None
        if 'masks' in found:
            masks = [LocalMask.crop(np.asarray(mask, bool)) for mask in found.masks.cpu().numpy()]
        return Detections(
            found.bboxes.cpu().numpy().astype(np.float32),
            found.scores.cpu().numpy().astype(np.float32),
            found.labels.cpu().numpy().astype(np.int64),
            masks,
        )


class ImageSegmentor(ImageModel):
    """A segmentor of mmseg. Arguments as for :class:`ImageModel`."""

    @torch.no_grad()
    def __call__(self, images: Sequence[np.ndarray]) -> list[LabelMap]:
        """Segments.

        Args:
            images: BGR pictures, of any sizes. Shape: ``(H, W, 3)`` each, uint8.

        Returns:
            The label map of each, in its own pixels.
        """
        kind = np.uint8 if len(self.classes) <= 256 else np.uint16
        # One by one: pictures of different sizes make no batch that could be scaled back.
        samples = [sample for image in images for sample in self._predict([image])]
        return [
            LabelMap(sample.pred_sem_seg.data.squeeze(0).cpu().numpy().astype(kind))
            for sample in samples
        ]


def inner_test_dataset(cfg: Config) -> dict[str, Any] | None:
    """The first dataset with a pipeline of a config's test data, inside whatever wrappers.

    Args:
        cfg: The config.

    Returns:
        Its dict; None if there is none.
    """
    waiting = [(cfg.get('test_dataloader') or {}).get('dataset')]
    while waiting:
        dataset = waiting.pop(0)
        if isinstance(dataset, (list, tuple)):
            waiting = [*dataset, *waiting]
        elif isinstance(dataset, Mapping):
            # Names of mmengine's wrappers: RepeatDataset has one dataset, ConcatDataset several.
            inner = [dataset[key] for key in ('dataset', 'datasets') if dataset.get(key)]
            if not inner and dataset.get('pipeline'):
                return dataset
            waiting = [*inner, *waiting]
    return None


def _pipeline(cfg: Config, scope: str) -> list[dict]:
    """The test pipeline for images in memory, which have no annotations."""
    steps = [
        step for step in inner_test_dataset(cfg)['pipeline'] if _name(step) != 'LoadAnnotations'
    ]
    return [{**steps[0], 'type': f'{scope}.LoadImageFromNDArray'}, *steps[1:]]


def _name(step: Mapping[str, Any]) -> str:
    """The name of a transform, which a config gives with or without scope, or as its class."""
    kind = step['type']
    return kind.rsplit('.', 1)[-1] if isinstance(kind, str) else kind.__name__


def _metainfo(cfg: Config, checkpoint: dict, scope: str, count: int | None) -> dict:
    """Class names and colours: those of the weights if they tell, else of the config's dataset.

    Names that are not as many as the classes of the model are not its names.
    """
    meta = checkpoint.get('meta') or {}
    saved = {key.lower(): value for key, value in (meta.get('dataset_meta') or {}).items()}
    for key in ('CLASSES', 'PALETTE'):
        if meta.get(key) is not None:
            saved.setdefault(key.lower(), meta[key])
    if count is not None and len(saved.get('classes') or ()) != count:
        saved = {}
    if saved.get('classes') and saved.get('palette'):
        return saved
    dataset = inner_test_dataset(cfg)
    kind = dataset['type']
    if isinstance(kind, str):
        with DATASETS.switch_scope_and_registry(scope) as registry:
            kind = registered_class(registry, kind)
    known = {**(getattr(kind, 'METAINFO', None) or {}), **(dataset.get('metainfo') or {}), **saved}
    classes = known.get('classes')
    if isinstance(classes, str) and Path(classes).is_file():
        # As mmengine's datasets read it.
        classes = Path(classes).read_text(encoding='utf-8').splitlines()
    names = list(classes) if isinstance(classes, (list, tuple)) else []
    # What a model of more classes finds has no name in the data.
    names += [f'class {index}' for index in range(len(names), count or 0)]
    return {**known, 'classes': names}


def _class_count(model: nn.Module) -> int | None:
    """How many classes a detector or segmentor tells apart; None if its head does not say."""
    roi_head = getattr(model, 'roi_head', None)
    for owner, name in ((roi_head, 'bbox_head'), (model, 'decode_head'), (model, 'bbox_head')):
        head = getattr(owner, name, None)
        if isinstance(head, nn.ModuleList):
            head = head[-1]
        count = getattr(head, 'num_classes', None)
        if isinstance(count, int):
            return count
    return None


def _palette(palette: object, count: int) -> list[tuple[int, int, int]]:
    if is_palette(palette) and len(palette) >= count:
        return [tuple(colour) for colour in palette]
    colours = np.random.default_rng(0).integers(64, 256, (count, 3))
    return [tuple(colour) for colour in colours.tolist()]
