"""Inference with a trained model: one class for detectors, segmentors and classifiers."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.model import BaseModel, revert_sync_batchnorm
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from casvit.errors import UserError
from casvit.inputs.images import ImageError
from casvit.results import Classification, Detections, LocalMask, Result, SemanticMap
from casvit.results.detections import inside_image
from casvit_mm.config.edit import drop_pretrained
from casvit_mm.config.view import ConfigView
from casvit_mm.inference.own_loader import OwnLoader
from casvit_mm.inference.pipeline import (
    class_info,
    loads_floats,
    own_loader,
    steps_in_memory,
)
from casvit_mm.inference.saved_config import read_saved_config
from casvit_mm.models.checkpoint import load_into, read_checkpoint
from casvit_mm.models.checks.query_positions import check_query_positions
from casvit_mm.models.optional import TOOLBOXES, import_toolbox


class UnusableConfigError(UserError, ValueError):
    """A config lacks something that inference needs, or its toolbox is not supported."""


def trained_model(
    cfg: Config, checkpoint: str, weights: str = 'model'
) -> tuple[BaseModel, dict[str, Any]]:
    """Builds the model of a config with the weights of a checkpoint, in eval mode on the CPU.

    Args:
        cfg: Config of a detector, segmentor or classifier.
        checkpoint: A checkpoint with all weights of the model, in any layout that
            :func:`casvit_mm.models.checkpoint.read_checkpoint` supports.
        weights: As for ``read_checkpoint``.

    Returns:
        The model, and the content of the checkpoint.

    Raises:
        CheckpointError: The checkpoint cannot be read or does not fit.
    """
    content = read_checkpoint(checkpoint, weights=weights)
    return with_weights(cfg, content, str(checkpoint)), content


def with_weights(cfg: Config, content: dict[str, Any], source: str) -> BaseModel:
    model_cfg = cfg.model.copy()
    drop_pretrained(model_cfg)
    if cfg.get('data_preprocessor'):
        # As in mmengine's runner.
        model_cfg.setdefault('data_preprocessor', cfg.data_preprocessor)
    with DefaultScope.overwrite_default_scope(ConfigView(cfg).scope):
        model = revert_sync_batchnorm(MODELS.build(model_cfg))
    load_into(model, content, strict=True, source=source)
    check_query_positions(model)
    return model.eval()


class ImageModel:
    """A trained model with its test pipeline: a backend of ``casvit.Predictor``.

    Args:
        checkpoint (str): The checkpoint, in any layout that
            :func:`casvit_mm.models.checkpoint.read_checkpoint` supports.
        cfg (Config, optional): The config; by default the one in the checkpoint, read as data (see
            :func:`casvit_mm.inference.saved_config.read_saved_config`).
        device (str): Device of the model. Defaults to 'cpu'.
        score_threshold (float): Detections below this score are left out. Defaults to 0.3.
        weights (str): 'model' or 'ema', as for ``read_checkpoint``. Defaults to 'model'.

    Raises:
        CheckpointError: The checkpoint cannot be read or does not fit.
        SavedConfigError: The config in the checkpoint is missing, or refused.
        UnusableConfigError: The config lacks something that inference needs, or its toolbox is
            not supported.
        MissingPackageError: The toolbox of the config cannot be imported.

    Attributes:
        task (str): 'detection', 'instance', 'semantic' or 'classification'.
        loader (OwnLoader, optional): Reads images, if the pipeline loads others than RGB.
        classes (tuple[str]): Names of the classes.
        palette (tuple[tuple[int]]): An RGB colour for each class.
        model (nn.Module): The model.
        precision (str): What its dense parts compute in.
    """

    precision = 'fp32'

    def __init__(
        self,
        checkpoint: str,
        cfg: Config | None = None,
        *,
        device: str = 'cpu',
        score_threshold: float = 0.3,
        weights: str = 'model',
    ) -> None:
        if cfg is not None:
            require_usable(cfg)
            import_toolbox(ConfigView(cfg).scope)
        content = read_checkpoint(checkpoint, weights=weights)
        if cfg is None:
            meta = content.get('meta') or {}
            cfg = read_saved_config(meta.get('cfg'), str(checkpoint))
        view = ConfigView(cfg)
        self.scope, self.task = view.scope, view.task
        self.model = with_weights(cfg, content, str(checkpoint)).to(device)
        self.score_threshold = score_threshold
        steps = (view.test_dataset() or {})['pipeline']
        self._as_floats = loads_floats(steps)
        own = own_loader(steps)
        self.loader = OwnLoader(own, self.scope) if own else None
        with DefaultScope.overwrite_default_scope(self.scope):
            self.pipeline = Compose(steps_in_memory(steps))
        self.classes, self.palette = class_info(cfg, content, self.scope, _class_count(self.model))

    @property
    def device(self) -> str:
        """The device that the model is on."""
        return str(next(self.model.parameters()).device)

    @torch.no_grad()
    def __call__(self, images: Sequence[np.ndarray]) -> list[Result]:
        """Runs inference on a batch.

        Args:
            images: RGB images, or what ``loader`` reads, of the same size: next to a larger image,
                an image would be padded, which changes the predictions of a CAS-ViT because it
                pools over the whole input. Shape: ``(H, W, 3)`` each, uint8; from a loader
                ``(H, W, C)``.

        Returns:
            The result of each image, in pixels of that image.

        Raises:
            ImageError: The images are too narrow for the pipeline.
        """
        try:
            items = [self.pipeline(self._loaded(image)) for image in images]
        except cv2.error as error:
            if error.func != 'resize':
                raise
            raise ImageError(
                'too narrow to be resized as the config says; use tiles (--tile SIZE, tile=SIZE), '
                'which are not resized'
            ) from error
        batch = {key: [item[key] for item in items] for key in ('inputs', 'data_samples')}
        with DefaultScope.overwrite_default_scope(self.scope):
            samples = self.model.test_step(batch)
        height, width = images[0].shape[:2]
        more = dict(classes=self.classes, palette=self.palette, height=height, width=width)
        make = {'mmdet': self._detections, 'mmseg': self._semantic_map}.get(
            self.scope, self._classification
        )
        return [make(sample, more) for sample in samples]

    def _loaded(self, image: np.ndarray) -> dict[str, Any]:
        """The output of a pipeline's loading step for an image, in OpenCV's channel order."""
        pixels = image
        if self.loader is None:
            pixels = np.ascontiguousarray(image[..., ::-1])
        if self._as_floats:
            pixels = pixels.astype(np.float32)
        shape = image.shape[:2]
        return dict(img=pixels, img_id=0, img_path=None, img_shape=shape, ori_shape=shape)

    def _detections(self, sample: Any, more: dict[str, Any]) -> Detections:
        found = sample.pred_instances
        found = found[found.scores >= self.score_threshold]
        boxes, inside = inside_image(found.bboxes.cpu().numpy(), more['height'], more['width'])
        found = found[torch.from_numpy(inside).to(found.scores.device)]
        masks = None
        if 'masks' in found:
            masks = [LocalMask.crop(np.asarray(mask, bool)) for mask in found.masks.cpu().numpy()]
        return Detections(
            boxes,
            found.scores.cpu().numpy().astype(np.float32),
            found.labels.cpu().numpy().astype(np.int64),
            masks,
            **more,
        )

    def _semantic_map(self, sample: Any, more: dict[str, Any]) -> SemanticMap:
        kind = np.uint8 if len(self.classes) <= 256 else np.uint16
        class_ids = sample.pred_sem_seg.data.squeeze(0).cpu().numpy()
        return SemanticMap(class_ids.astype(kind), **more)

    def _classification(self, sample: Any, more: dict[str, Any]) -> Classification:
        return Classification(sample.pred_score.float().cpu().numpy(), **more)


def require_usable(cfg: Config) -> None:
    """Checks that a config has what inference needs.

    Raises:
        UnusableConfigError: It lacks something, or its toolbox is not supported.
    """
    name, view = cfg.filename or 'that was given', ConfigView(cfg)
    if not cfg.get('model'):
        raise UnusableConfigError(f'The config {name} has no model.')
    if view.test_dataset() is None:
        raise UnusableConfigError(
            f'The config {name} has no test_dataloader whose dataset has a pipeline, which is '
            'needed to prepare images.'
        )
    if not isinstance(view.scope, str) or view.scope not in TOOLBOXES:
        raise UnusableConfigError(
            f'The config {name} is for {view.scope}, but inference supports only '
            f'{", ".join(TOOLBOXES)}.'
        )


def _class_count(model: nn.Module) -> int | None:
    """Number of classes of a model; None if its head does not tell."""
    roi_head = getattr(model, 'roi_head', None)
    owners = (
        (roi_head, 'bbox_head'),
        (model, 'decode_head'),
        (model, 'bbox_head'),
        (model, 'head'),
    )
    for owner, name in owners:
        head = getattr(owner, name, None)
        if isinstance(head, nn.ModuleList):
            head = head[-1]
        count = getattr(head, 'num_classes', None)
        if isinstance(count, int):
            return count
    return None
