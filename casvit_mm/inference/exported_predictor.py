"""An exported model in the place of a trained one, for OpenMMLab's evaluators."""

from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from mmengine.structures import InstanceData, PixelData

from casvit.backends import load_backend
from casvit.errors import CliError
from casvit.exported.model import ExportedModel
from casvit.predictor import Predictor
from casvit.results import Classification, Detections, Result, SemanticMap
from casvit.sentences import from_here
from casvit_mm.registration import registered_in


@registered_in(MODELS)
class ExportedPredictor(BaseModel):
    """Predicts the images of a test dataset with an exported model.

    It reads each image file itself, and prepares it as the exported model says: what is evaluated
    is what an application would get. The inputs that the pipeline of the dataset makes are not
    used.

    Args:
        file (str): What `casvit export` wrote.
        trust (bool): Whether formats that can run code may be opened. Defaults to False.
        device (str, optional): Device of the runtime. Defaults to its own choice.

    Raises:
        UserError: It cannot be loaded.
    """

    def __init__(self, file: str, trust: bool = False, device: str | None = None) -> None:
        super().__init__()
        # Evaluators want all objects that the file gives.
        options = dict(trust=trust, device=device, score_threshold=0.0)
        backend = load_backend(file, options)
        if not isinstance(backend, ExportedModel):
            raise CliError(f'--backend {file} is not an exported model, but a checkpoint.')
        self.file, self.backend = file, backend
        self.predictor = Predictor(backend)

    def facts(self) -> dict[str, str]:
        """What to show before the first test step, by name."""
        return {
            'model': f'{self.backend.description.model}, exported',
            'file': from_here(self.file),
            'device': f'{self.backend.device}, {self.backend.precision}',
        }

    def test_step(self, data: dict[str, Any]) -> list[Any]:
        """Predicts the images of a batch.

        Args:
            data: Data samples with the path of each image.

        Returns:
            The samples, with predictions in pixels of the images.

        Raises:
            UserError: An image cannot be read, or inference fails.
        """
        samples = data['data_samples']
        for sample in samples:
            _add(self.predictor(sample.img_path), sample)
        return samples

    val_step = test_step

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Not used: an exported model cannot be trained."""
        raise NotImplementedError('An exported model only predicts.')


def _add(result: Result, sample: Any) -> None:
    if isinstance(result, Detections):
        found: dict[str, Any] = dict(
            bboxes=torch.from_numpy(result.boxes),
            scores=torch.from_numpy(result.scores),
            labels=torch.from_numpy(result.class_ids),
        )
        if (masks := result.dense_masks) is not None:
            found['masks'] = torch.from_numpy(masks)
        sample.pred_instances = InstanceData(**found)
    elif isinstance(result, SemanticMap):
        ids = torch.from_numpy(result.class_ids.astype('int64'))
        sample.pred_sem_seg = PixelData(data=ids[None])
    elif isinstance(result, Classification):
        scores = torch.from_numpy(result.scores)
        sample.set_pred_score(scores).set_pred_label(scores.argmax())
