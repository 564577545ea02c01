"""Counts parameters and multiply-accumulates (MACs) of a model and its backbone."""

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import torch
from mmengine.analysis import ActivationAnalyzer, FlopAnalyzer
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, init_default_scope
from torch import Tensor, nn

from casvit_mm.config.edit import drop_pretrained
from casvit_mm.config.view import ConfigView, type_name

if TYPE_CHECKING:
    from mmdet.models import TwoStageDetector
    from mmdet.structures import DetDataSample

ATTENTION = 'aten::scaled_dot_product_attention'
CLASSIFIER = (224, 224)
PAPERS = {(800, 1333): (800, 1280)}


def count(cfg: Config, height: int, width: int) -> tuple[list[tuple[str, int, int]], int | None]:
    """Counts the parameters and MACs of a config's model.

    Args:
        cfg: The config.
        height: Input height in pixels.
        width: Input width in pixels.

    Returns:
        Rows (part, parameters, MACs), and the number of proposals of a two-stage detector.
    """
    init_default_scope(ConfigView(cfg).scope)
    model_cfg = cfg.model.copy()
    drop_pretrained(model_cfg)
    torch.manual_seed(0)
    model = revert_sync_batchnorm(MODELS.build(model_cfg)).eval()
    image = torch.rand(1, input_channels(cfg), height, width)
    rows = [('model', parameters(model), macs(_Tensors(model, height, width), image))]
    if hasattr(model, 'backbone'):
        rows.append(('backbone', parameters(model.backbone), macs(model.backbone, image)))
    return rows, _proposals(model, image) if hasattr(model, 'roi_head') else None


def input_channels(cfg: Config) -> int:
    """Number of input channels: three, unless the backbone takes grey or multispectral images."""
    return (cfg.model.get('backbone') or {}).get('in_channels', 3)


def input_shape(cfg: Config) -> tuple[int, int]:
    """Height and width of the input that figures of a config's model are usually given for.

    It is the size that images are cropped or warped to, for segmentors that of training. Images of
    detectors keep their aspect ratio: the size is the largest that their scale allows, and 800 x
    1280 for the usual (1333, 800), as in papers. 224 x 224 if the config says nothing.
    """
    view = ConfigView(cfg)
    preprocessor = view.model.get('data_preprocessor') or cfg.get('data_preprocessor') or {}
    if view.task == 'semantic' and preprocessor.get('size'):
        return _pair(preprocessor['size'])
    pipeline = (view.test_dataset() or {}).get('pipeline') or []
    sizes = [
        _pair(step[key])
        for step in pipeline
        for key in ('scale', 'crop_size')
        if step.get(key) is not None and type_name(step) != 'ResizeEdge'
    ]
    if not sizes:
        return CLASSIFIER
    # Scales are (width, height); with the aspect ratio kept, in any order.
    height, width = sorted(sizes[-1])
    return PAPERS.get((height, width), (height, width))


def _pair(size: Any) -> tuple[int, int]:
    first, second = (size, size) if isinstance(size, int) else size
    return int(first), int(second)


def parameters(model: nn.Module) -> int:
    """Number of parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


def macs(model: nn.Module, image: Tensor) -> int:
    """Multiply-accumulates of one forward pass.

    Args:
        model: The module.
        image: Its input. Shape: ``(1, C, H, W)``.

    Returns:
        Their number, as counted by mmengine's analyser.
    """
    return sum(macs_by_operator(model, image).values())


def macs_by_operator(model: nn.Module, image: Tensor) -> dict[str, int]:
    """Multiply-accumulates of one forward pass, by torch's names of operators.

    Args:
        model: The module.
        image: Its input. Shape: ``(1, C, H, W)``.
    """
    analyzer = FlopAnalyzer(model, (image,))
    analyzer.set_op_handle(ATTENTION, lambda inputs, outputs: sum(_products(inputs)[0]))
    return _counted(analyzer)


def activations(model: nn.Module, image: Tensor) -> int:
    """Values that the convolutions, linear layers and matrix products of a forward pass give.

    The scores of all pairs in self-attention are among them, although PyTorch does not keep them.

    Args:
        model: The module.
        image: Its input. Shape: ``(1, C, H, W)``.

    Returns:
        Their number, as counted by mmengine's analyser.

    Source: "Designing Network Design Spaces", arXiv 2003.13678, for convolutions.
    """
    analyzer = ActivationAnalyzer(model, (image,))
    analyzer.set_op_handle(ATTENTION, lambda inputs, outputs: sum(_products(inputs)[1]))
    return sum(_counted(analyzer).values())


def _counted(analyzer: FlopAnalyzer | ActivationAnalyzer) -> dict[str, int]:
    analyzer.unsupported_ops_warnings(False)
    analyzer.uncalled_modules_warnings(False)
    analyzer.tracer_warnings('none')
    with torch.no_grad():
        return {name: int(number) for name, number in analyzer.by_operator().items()}


def _products(inputs: Sequence[Any]) -> tuple[tuple[int, int], tuple[int, int]]:
    """MACs and results of the two matrix products that torch computes as one operator.

    Args:
        inputs: Query, key and value, among others. Shape: ``(..., N, D)``, ``(..., M, D)`` and
            ``(..., M, E)``.
    """
    query, key, value = (each.type().sizes() for each in inputs[:3])
    rows = prod(query[:-1])
    return (
        (rows * key[-2] * query[-1], rows * key[-2] * value[-1]),
        (rows * key[-2], rows * value[-1]),
    )


class _Tensors(nn.Module):
    """A detector, segmentor or classifier as a function of an image only."""

    def __init__(self, model: nn.Module, height: int, width: int) -> None:
        super().__init__()
        self.model = model
        self.samples = _samples(height, width)

    def forward(self, image: Tensor) -> Any:
        return self.model(image, self.samples, mode='tensor')


def _samples(height: int, width: int) -> 'list[DetDataSample]':
    from mmdet.structures import DetDataSample

    shape = (height, width)
    return [
        DetDataSample(
            metainfo=dict(
                img_shape=shape,
                ori_shape=shape,
                pad_shape=shape,
                batch_input_shape=shape,
                scale_factor=(1.0, 1.0),
                img_id=0,
                img_path='',
            )
        )
    ]


def _proposals(model: 'TwoStageDetector', image: Tensor) -> int:
    with torch.no_grad():
        features = model.extract_feat(image)
        samples = _samples(*image.shape[-2:])
        return len(model.rpn_head.predict(features, samples, rescale=False)[0])
