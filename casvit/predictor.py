"""The Predictor: one interface to every kind of model, for images in any form."""

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, TypeGuard, cast, overload

import numpy as np

from casvit.backends import Backend, Loader, UnknownModelError, load_backend
from casvit.errors import UserError
from casvit.inputs.ahead import read_ahead
from casvit.inputs.batches import batches_of_equals
from casvit.inputs.images import ImageError, ImageLike, load_image
from casvit.inputs.tiles import merge, predict_tiled, stitch
from casvit.results import Colour, Result
from casvit.tables import OBJECT_TASKS


class PredictionError(UserError, RuntimeError):
    """Inference failed for an image; ``__cause__`` is the error that the model raised."""


class TilingError(UserError, ValueError):
    """The tile size or overlap is invalid, or the model does not support tiles."""


OnTiles = Callable[[int, int], None]
Outcome = Result | ImageError | PredictionError


class Predictor:
    """Runs inference with a trained model: detection, segmentation or classification.

    Args:
        model: The file of a model: a checkpoint of a training run or of OpenMMLab, a published
            checkpoint, .safetensors, or what `casvit export` wrote. Or ``casvit://NAME`` for
            published weights by name, or a :class:`casvit.backends.Backend`.
        config: Config of the model: a file, the name of a config that comes with the package, or
            a ``Config`` of mmengine. By default that of the published weights, or the config in
            the checkpoint, which is read as data: nothing in it is run.
        device: 'cpu', 'cuda', 'cuda:1' … By default the first GPU, else the CPU.
        score_threshold: Detections below this score are left out. By default 0.3, or what an
            exported file says.
        batch_size: Images, or tiles, per batch; only images of the same size share a batch.
        weights: 'model', or 'ema' for the moving average, if the checkpoint has both.
        fuse: Fold batch norms into convolutions: the same results, faster.
        compile: Compile the model: a minute or more for the first image, then faster. True is for
            images of any size; 'static' compiles anew for each size, up to eight of them, which is
            faster still, as for tiles or the frames of a camera.
        precision: 'fp32', 'bf16' or 'fp16'.
        trust: Whether to unpickle the file without any check, so that it can run any code with
            your rights. By default it is read as data, and refused if it holds more.

    Raises:
        UserError: The model cannot be loaded; the message says why and what to do.

    Attributes:
        backend: The backend that runs the model.
        batch_size: Images, or tiles, per batch.

    Example:
        >>> from casvit import Predictor
        >>> predict = Predictor('work_dirs/mask_rcnn_casvit-xs_demo_shapes/epoch_9.pth')
        >>> result = predict('street.jpg')
        >>> result.save('out.jpg')
    """

    def __init__(
        self,
        model: str | os.PathLike | Backend,
        *,
        config: Any = None,
        device: str | None = None,
        score_threshold: float | None = None,
        batch_size: int = 1,
        weights: str = 'model',
        fuse: bool = False,
        compile: bool | str = False,
        precision: str = 'fp32',
        trust: bool = False,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f'batch_size={batch_size}: expected at least 1')
        self.batch_size = batch_size
        if isinstance(model, (str, os.PathLike)):
            options = dict(
                config=config,
                device=device,
                score_threshold=score_threshold,
                weights=weights,
                fuse=fuse,
                compile=compile,
                precision=precision,
                trust=trust,
            )
            self.backend: Backend = load_backend(os.fspath(model), options)
        elif isinstance(model, Backend):
            self.backend = model
        else:
            raise UnknownModelError(
                f'An object of type {type(model).__name__} is not a model: expected a file or a '
                'casvit.backends.Backend.'
            )

    @property
    def task(self) -> str:
        """'detection', 'instance', 'semantic' or 'classification'."""
        return self.backend.task

    @property
    def classes(self) -> Sequence[str]:
        """Names of the classes."""
        return self.backend.classes

    @property
    def palette(self) -> Sequence[Colour]:
        """RGB colour of each class."""
        return self.backend.palette

    @property
    def device(self) -> str:
        """The device that the model runs on: 'cpu', 'cuda:0' …; empty if the backend does not say.

        A runtime may take another one than was asked for.
        """
        return getattr(self.backend, 'device', '')

    @property
    def precision(self) -> str:
        """The precision that the model computes in: 'fp32', 'bf16' or 'fp16'; empty as above."""
        return getattr(self.backend, 'precision', '')

    def __repr__(self) -> str:
        where = ''.join(f', {each}' for each in (self.device, self.precision) if each)
        return f'<Predictor: {self.task}, {len(self.classes)} classes{where}>'

    # A path, an array or a list could also be taken for an iterable of images.
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self,
        image: ImageLike,
        *,
        bgr: bool = ...,
        tile: int | None = ...,
        overlap: int | None = ...,
        on_tiles: OnTiles | None = ...,
        prefetch: bool = ...,
    ) -> Result: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self,
        image: list[ImageLike] | tuple[ImageLike, ...],
        *,
        bgr: bool = ...,
        tile: int | None = ...,
        overlap: int | None = ...,
        on_tiles: OnTiles | None = ...,
        prefetch: bool = ...,
    ) -> list[Result]: ...
    @overload
    def __call__(
        self,
        image: Iterable[ImageLike],
        *,
        bgr: bool = ...,
        tile: int | None = ...,
        overlap: int | None = ...,
        on_tiles: OnTiles | None = ...,
        prefetch: bool = ...,
    ) -> Generator[Result, None, None]: ...

    def __call__(
        self,
        image: ImageLike | Iterable[ImageLike],
        *,
        bgr: bool = False,
        tile: int | None = None,
        overlap: int | None = None,
        on_tiles: OnTiles | None = None,
        prefetch: bool = True,
    ) -> Result | list[Result] | Generator[Result, None, None]:
        """Runs inference on one or more images.

        Args:
            image: A file, a PIL image or a NumPy array (see
                :func:`casvit.inputs.images.load_image`; for a model of other than RGB images, an
                array with its bands, ``(H, W, C)``); or a list or tuple of them; or an
                iterator, from which images are taken only shortly before their results are
                needed, so that any number of them fits into memory.
            bgr: Whether arrays have OpenCV's channel order.
            tile: Predict overlapping tiles of this side in pixels instead of the whole image: for
                images that are much larger than those that the model was trained on. An object
                found in two tiles is reported once.
            overlap: Overlap of neighbouring tiles in pixels, at least the size of an object. By
                default a quarter of a tile.
            on_tiles: Called with the number of finished tiles of an image and the number of all
                its tiles: before the first batch, and after each.
            prefetch: Whether a background thread takes and reads the next images of a list or an
                iterator while the model computes: up to ``batch_size + 1`` of them, with tiles
                one. False for an iterator that has to run in the thread of the caller, waits for
                results, or may wait for its next image for ever.

        Returns:
            The result of an image, a list of results, or a generator of results, in the order of
            the images. Results of a list of files read the image again when drawn; others hold
            it. Closing the generator ends the thread; so does any error.

        Raises:
            ImageError: An image cannot be read, or its type is not supported.
            PredictionError: Inference failed for an image.
            TilingError: The tile size or overlap is invalid, or the model does not support tiles.
            Exception: The iterator raised it, after the results of the images before.
        """
        predict = self._predict(tile, overlap, on_tiles)
        if isinstance(image, (list, tuple)):
            return list(_raised(self._outcomes(image, bgr, predict, tile, False, prefetch)))
        if _is_stream(image):
            return _raised(self._outcomes(image, bgr, predict, tile, True, prefetch))
        one = cast(ImageLike, image)
        return next(_raised(self._outcomes([one], bgr, predict, tile, True, False)))

    def answers(
        self,
        images: Iterable[ImageLike],
        *,
        bgr: bool = False,
        tile: int | None = None,
        overlap: int | None = None,
        on_tiles: OnTiles | None = None,
        prefetch: bool = True,
        keep_images: bool = True,
    ) -> Generator[Outcome, None, None]:
        """Runs inference on many images, some of which may fail.

        Args:
            images: The images; the other arguments are those of calling the Predictor.
            keep_images: Whether the results of files hold their images.

        Returns:
            A generator of the result of each image, or the error in its place.

        Raises:
            TilingError: The tile size or overlap is invalid, or the model does not support tiles.
            Exception: The iterator raised it, after the results of the images before.
        """
        predict = self._predict(tile, overlap, on_tiles)
        return self._outcomes(images, bgr, predict, tile, keep_images, prefetch)

    def _outcomes(
        self,
        images: Iterable[ImageLike],
        bgr: bool,
        predict: Callable[[list[np.ndarray]], Sequence[Result]],
        tile: int | None,
        keep_images: bool,
        prefetch: bool,
    ) -> Generator[Outcome, None, None]:
        # With tiles, a batch consists of tiles of one image.
        size = self.batch_size if tile is None else 1
        loader = getattr(self.backend, 'loader', None)
        stream = not isinstance(images, (list, tuple))

        def read(image: ImageLike) -> _Input:
            # An iterator may use the memory of an array again for the next one.
            if stream and isinstance(image, np.ndarray):
                image = image.copy()
            return _read(image, bgr, keep_images, loader)

        if prefetch and not getattr(images, 'reads_ahead', False):
            inputs = read_ahead(images, read, size + 1 if tile is None else 1)
        else:
            inputs = (read(image) for image in images)
        outcomes: dict[int, Outcome] = {}
        errors: list[Exception] = []
        turn = 0
        with closing(inputs):
            for batch in batches_of_equals(
                _until_error(inputs, errors), size, lambda one: one.pixels.shape[:2]
            ):
                numbers, members = zip(*batch, strict=True)
                outcomes.update(zip(numbers, _predicted(members, predict), strict=True))
                while turn in outcomes:
                    yield outcomes.pop(turn)
                    turn += 1
        if errors:
            raise errors.pop()

    def _predict(
        self, tile: int | None, overlap: int | None, on_tiles: OnTiles | None
    ) -> Callable[[list[np.ndarray]], Sequence[Result]]:
        """Predicts images of one size, in tiles if that is asked for."""
        if tile is None:
            if overlap is not None:
                raise TilingError(f'overlap={overlap} needs a tile size: add tile=...')
            return self.backend
        if self.task == 'classification':
            raise TilingError('tile=... is not for classifiers, which need the whole image.')
        if tile < 1:
            raise TilingError(f'tile={tile}: expected at least 1 pixel.')
        overlap = tile // 4 if overlap is None else overlap
        if not 0 <= overlap < tile:
            raise TilingError(f'overlap={overlap} does not fit tiles of {tile} pixels.')
        combine = merge if self.task in OBJECT_TASKS else stitch

        def predict(images: list[np.ndarray]) -> list[Result]:
            return [
                replace(
                    predict_tiled(
                        self.backend,
                        image,
                        tile,
                        overlap,
                        combine,
                        batch_size=self.batch_size,
                        on_tiles=on_tiles,
                    ),
                    tile=tile,
                )
                for image in images
            ]

        return predict


@dataclass(frozen=True)
class _Input:
    """An image, or the error if it could not be read; ``shown`` is kept with its result."""

    pixels: np.ndarray
    file: str
    shown: np.ndarray | None
    error: ImageError | None = None


def _is_stream(value: Any) -> TypeGuard[Iterable[ImageLike]]:
    # An array or a tensor is one image, not a stream of its rows.
    one = isinstance(value, (str, bytes, os.PathLike)) or hasattr(value, 'shape')
    return isinstance(value, Iterable) and not one


def _read(image: ImageLike, bgr: bool, keep_files: bool, loader: Loader | None) -> _Input:
    file = os.fspath(image) if isinstance(image, (str, os.PathLike)) else ''
    try:
        if loader is not None:
            # What draws results later reads image files only as RGB.
            bands = loader(image)
            return _Input(bands, file, loader.shown(bands))
        pixels = load_image(image, bgr=bgr)
        return _Input(pixels, file, pixels if keep_files or not file else None)
    except ImageError as error:
        return _Input(np.zeros((0, 0, 3), np.uint8), file, None, error)


def _predicted(
    batch: Sequence[_Input], predict: Callable[[list[np.ndarray]], Sequence[Result]]
) -> Sequence[Outcome]:
    """The result of each image of a batch, or the error of predicting it alone."""
    # Those that cannot be read have a size of their own: no batch has some of both.
    if errors := [one.error for one in batch if one.error is not None]:
        return errors
    try:
        results = predict([one.pixels for one in batch])
    # Models may raise any error for an image of unusual size.
    except Exception as error:
        if len(batch) > 1:
            return [outcome for one in batch for outcome in _predicted([one], predict)]
        return [_failed(batch[0], error)]
    return [
        replace(result, image=one.shown, file=one.file)
        for one, result in zip(batch, results, strict=True)
    ]


def _failed(one: _Input, error: Exception) -> PredictionError:
    height, width = one.pixels.shape[:2]
    name = f'{one.file} ' if one.file else 'an image '
    if isinstance(error, UserError):
        reason = str(error)
    else:
        lines = str(error).strip().splitlines()
        reason = ': '.join([type(error).__name__, *lines[:1]])
    failed = PredictionError(f'Inference failed for {name}({width} x {height} pixels): {reason}')
    failed.__cause__ = error
    return failed


def _until_error(inputs: Iterator[_Input], errors: list[Exception]) -> Iterator[_Input]:
    """Ends with an error, which is kept: images before it may still wait for their batch."""
    try:
        yield from inputs
    except Exception as error:
        errors.append(error)


def _raised(outcomes: Generator[Outcome, None, None]) -> Generator[Result, None, None]:
    with closing(outcomes):
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
            yield outcome
