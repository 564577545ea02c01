"""A trained detector, ready to be shown pictures."""

from collections.abc import Sequence

import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import DATASETS, MODELS, init_default_scope

from casvit_mm.engine.detections import Detections, LocalMask
from casvit_mm.models.checkpoint import load_into, read_checkpoint


class ImageDetector:
    """A detector of mmdet with its weights and its test pipeline.

    Args:
        cfg (Config): Config of the detector.
        checkpoint (str): Its weights, in any layout that
            :func:`casvit_mm.models.checkpoint.read_checkpoint` knows.
        device (str): Where to run. Defaults to 'cpu'.
        score_thr (float): Detections below this score are left out. Defaults to 0.3.

    Raises:
        CheckpointError: The weights cannot be read or do not fit.

    Attributes:
        classes (tuple[str]): Names of the classes.
        palette (list[tuple[int]]): An RGB colour for each class.
    """

    def __init__(
        self, cfg: Config, checkpoint: str, *, device: str = 'cpu', score_thr: float = 0.3
    ) -> None:
        init_default_scope(cfg.get('default_scope', 'mmdet'))
        model_cfg = cfg.model.copy()
        model_cfg.backbone = {**model_cfg.backbone, 'init_cfg': None}
        self.model = revert_sync_batchnorm(MODELS.build(model_cfg))
        content = read_checkpoint(checkpoint)
        load_into(self.model, content, strict=True, source=str(checkpoint))
        self.model.to(device).eval()
        self.pipeline = Compose(_pipeline(cfg))
        self.score_thr = score_thr
        meta = _metainfo(cfg, content)
        self.classes = tuple(meta['classes'])
        self.palette = _palette(meta.get('palette'), len(self.classes))

    @torch.no_grad()
    def __call__(self, images: Sequence[np.ndarray]) -> list[Detections]:
        """Detects.

        Args:
            images: BGR pictures, of any sizes. Shape: ``(H, W, 3)`` each, uint8.

        Returns:
            The detections of each, in its own pixels.
        """
        items = [self.pipeline(dict(img=image, img_id=0)) for image in images]
        batch = {key: [item[key] for item in items] for key in ('inputs', 'data_samples')}
        return [self._detections(sample) for sample in self.model.test_step(batch)]

    def _detections(self, sample: object) -> Detections:
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


def _pipeline(cfg: Config) -> list[dict]:
    """The test pipeline for pictures in memory, which have no annotations."""
    dataset = cfg.test_dataloader.dataset
    while 'dataset' in dataset:
        dataset = dataset.dataset
    steps = [
        step
        for step in dataset.pipeline
        if step['type'] not in ('LoadAnnotations', 'mmdet.LoadAnnotations')
    ]
    return [{**steps[0], 'type': 'mmdet.LoadImageFromNDArray'}, *steps[1:]]


def _metainfo(cfg: Config, checkpoint: dict) -> dict:
    """Class names, of the weights if they tell, else of the config's data set."""
    meta = checkpoint.get('meta') or {}
    saved = {str(key).lower(): value for key, value in (meta.get('dataset_meta') or {}).items()}
    if 'CLASSES' in meta:
        saved.setdefault('classes', meta['CLASSES'])
    if 'classes' in saved and 'palette' in saved:
        return saved
    dataset = cfg.test_dataloader.dataset
    while 'dataset' in dataset:
        dataset = dataset.dataset
    known = dict(getattr(DATASETS.get(dataset.type), 'METAINFO', {}))
    return {**known, **(dataset.get('metainfo') or {}), **saved}


def _palette(palette: object, count: int) -> list[tuple[int, int, int]]:
    if isinstance(palette, (list, tuple)) and len(palette) >= count:
        return [tuple(colour) for colour in palette]
    colours = np.random.default_rng(0).integers(64, 256, (count, 3))
    return [tuple(colour) for colour in colours.tolist()]
