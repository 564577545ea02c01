"""An exported model behind the Predictor: prepares images, runs the network, reads its outputs."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from casvit.errors import MissingPackageError, UserError
from casvit.exported.decoding import decode, rows_of
from casvit.exported.description import Description, ExportedModelError
from casvit.exported.formats import FORMATS
from casvit.exported.outputs import to_result
from casvit.exported.preparation import Prepared, fit_of, prepare
from casvit.extras import how_to_install
from casvit.results import Colour, Result

OF_CHECKPOINTS = {
    'config': None,
    'weights': 'model',
    'fuse': False,
    'compile': False,
    'precision': 'fp32',
}
"""Options of the Predictor that an exported model has no use for, and their defaults."""


class Runtime(Protocol):
    """A network, ready to run; several threads may call it at the same time.

    Attributes:
        device: The device that it runs on: 'cpu', 'cuda' …
        precision: The precision that it computes in, as far as the runtime tells.
    """

    device: str
    precision: str

    def __call__(self, images: np.ndarray) -> Sequence[np.ndarray]:
        """Runs the network.

        Args:
            images: Shape: ``(B, 3, H, W)``, uint8 RGB.

        Returns:
            The outputs, in their order.
        """


class ExportedModel:
    """An exported model: a backend of ``casvit.Predictor``.

    Args:
        file (str): The file, for messages.
        description (Description): What the file says of itself.
        runtime (Runtime): Runs it.
        score_threshold (float, optional): Objects below this score are left out. Defaults to what
            the file says.
    """

    def __init__(
        self,
        file: str,
        description: Description,
        runtime: Runtime,
        score_threshold: float | None = None,
    ) -> None:
        self.file, self.description, self.runtime = file, description, runtime
        if score_threshold is None:
            score_threshold = description.score_threshold
        self.score_threshold = score_threshold

    @property
    def task(self) -> str:
        """The task of the model."""
        return self.description.task

    @property
    def classes(self) -> Sequence[str]:
        """Names of its classes."""
        return self.description.classes

    @property
    def palette(self) -> Sequence[Colour]:
        """RGB colour of each class."""
        return self.description.palette

    @property
    def device(self) -> str:
        """The device that the runtime took."""
        return self.runtime.device

    @property
    def precision(self) -> str:
        """The precision that the runtime computes in."""
        return self.runtime.precision

    def __call__(self, images: Sequence[np.ndarray]) -> list[Result]:
        """Runs inference on a batch.

        Args:
            images: RGB images of the same size. Shape: ``(H, W, 3)`` each, uint8.

        Returns:
            The result of each image, in pixels of that image.

        Raises:
            ExportedModelError: The outputs are not what the description says.
        """
        prepared = [self._prepared(image) for image in images]
        size = self.description.input_size
        for one in prepared:
            if size is not None and one.pixels.shape[:2] != size:
                raise ExportedModelError(
                    f'{self.file} takes images of {size[1]} x {size[0]} pixels, but its '
                    f'preparation makes {one.pixels.shape[1]} x {one.pixels.shape[0]}: export the '
                    'model again.'
                )
        inputs = [one.pixels.transpose(2, 0, 1) for one in prepared]
        batch = self.description.batch or len(inputs)
        outputs: list[Sequence[np.ndarray]] = []
        for start in range(0, len(inputs), batch):
            outputs += self._run(np.stack(inputs[start : start + batch]), batch)
        return [
            to_result(out, one, image.shape[:2], self.description, self.score_threshold)
            for out, one, image in zip(outputs, prepared, images, strict=True)
        ]

    def _prepared(self, image: np.ndarray) -> Prepared:
        """An image as the file takes it."""
        steps, size = self.description.preparation, image.shape[:2]
        if not self.description.resizes:
            return prepare(image, steps)
        # Too narrow images are refused whoever resizes them.
        fit_of(steps).inside(size)
        return Prepared(image, (1.0, 1.0), size)

    def network_outputs(self, images: np.ndarray) -> Sequence[np.ndarray]:
        """The outputs of the network for its input, in the order of the names of its task.

        Those of a file that leaves decoding to the Predictor are decoded.

        Args:
            images: Shape: ``(B, 3, H, W)``, uint8 RGB.

        Raises:
            ExportedModelError: They are not those that the description says.
        """
        outputs = self.runtime(np.ascontiguousarray(images))
        names = self.description.outputs
        if len(outputs) != len(names):
            raise ExportedModelError(
                f'{self.file} has {len(outputs)} outputs, but a model for {self.task} has '
                f'{len(names)}: {", ".join(names)}.'
            )
        if (raw := self.description.raw) is None:
            return outputs
        size = images.shape[2], images.shape[3]
        rows = rows_of(size, raw)
        expected = [(1, rows, len(self.classes)), (1, rows, 4)]
        if (found := [output.shape for output in outputs]) != expected:
            raise ExportedModelError(
                f'The outputs of {self.file} have the shapes {found}, but its description says '
                f'{expected}: it belongs to another model.'
            )
        return decode(outputs[0][0], outputs[1][0], size, raw)

    def _run(self, images: np.ndarray, batch: int) -> list[Sequence[np.ndarray]]:
        """Runs a batch, the last of which may be incomplete. Gives the outputs of each image."""
        count = len(images)
        if count < batch:
            images = np.concatenate([images, np.repeat(images[-1:], batch - count, 0)])
        outputs = self.network_outputs(images)
        classes = len(self.classes)
        if self.task in ('semantic', 'classification'):
            if outputs[0].shape[:2] != (batch, classes):
                raise ExportedModelError(
                    f'{self.file} gives values for {outputs[0].shape[1]} classes, but names '
                    f'{classes}: its description belongs to another model.'
                )
            return [[outputs[0][index]] for index in range(count)]
        labels = outputs[2]
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
            raise ExportedModelError(
                f'{self.file} predicts the class {int(labels.max())}, but names {classes}: its '
                'description belongs to another model.'
            )
        return [outputs]


def require_options(file: str, options: dict[str, Any]) -> tuple[str | None, float | None, bool]:
    """Reads the options of the Predictor for an exported model.

    Args:
        file: The file, for messages.
        options: The options.

    Returns:
        The device and the score threshold, None if none was given, and whether it is trusted.

    Raises:
        UserError: There are options that are for checkpoints only.
    """
    for name, default in OF_CHECKPOINTS.items():
        if options.get(name, default) != default:
            raise UserError(
                f'{name}={options[name]!r} is for checkpoints. {file} is an exported model, whose '
                'config, weights and precision were settled by `casvit export`.'
            )
    return options.get('device'), options.get('score_threshold'), bool(options.get('trust'))


def of_another_model(file: str, description: Description) -> ExportedModelError:
    """The error that a graph has other inputs or outputs than its description says."""
    return ExportedModelError(
        f'The inputs or outputs of {file} are not those of a model for {description.task}: its '
        'description belongs to another model.'
    )


def require_size(file: str, description: Description, shape: Sequence[int | None]) -> None:
    """Checks that a graph takes images of the size that its description says.

    Args:
        file: The file, for messages.
        description: What it says.
        shape: The shape of its input, None for what may be anything.

    Raises:
        ExportedModelError: It takes others.
    """
    found, said = tuple(shape[2:]), description.input_size or (None, None)
    if found != said:
        raise ExportedModelError(
            f'{file} takes images of {_size(found)} pixels, but its description says '
            f'{_size(said)}: it belongs to another model.'
        )


def _size(sides: Sequence[int | None]) -> str:
    return ' x '.join('any' if side is None else str(side) for side in reversed(sides))


def missing_package(format_name: str, error: ImportError) -> MissingPackageError:
    """The error that a runtime is not installed."""
    package = FORMATS[format_name].package
    return MissingPackageError(
        f'{FORMATS[format_name].name} models need {package}, which cannot be imported here '
        f'({str(error).splitlines()[0]}): {how_to_install(package)}.'
    )
