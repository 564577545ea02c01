"""What an exported model says of itself, as JSON in its file or beside it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from casvit.drawing.palette import Colour
from casvit.errors import UserError
from casvit.exported.decoding import problem_of
from casvit.exported.preparation import PreparationError, Step, check_steps, fit_of
from casvit.tables import CHECKED_TASKS, SCORE_THRESHOLD
from casvit.weights.digest import sha256

KEY = 'casvit'
"""The key of the description in the metadata of a file."""
VERSION = 1
"""Version of the description. A reader refuses newer ones."""
LARGEST = 2**24
"""Largest number of characters of a description."""

BOXES, SCORES, LABELS, MASKS = 'boxes', 'scores', 'labels', 'masks'
MASK_BOXES = 'mask_boxes'
"""Name of what masks cover, if boxes are cut off at the edges of the image in the file."""
OUTPUTS = {
    'detection': (BOXES, SCORES, LABELS),
    'instance': (BOXES, SCORES, LABELS, MASKS),
    'semantic': ('logits',),
    'classification': ('probabilities',),
}
"""Names of the outputs of a model, by its task."""
RAW_OUTPUTS = ('class_logits', 'box_values')
"""Names of the outputs of a detector whose file leaves decoding to the Predictor."""
INPUT = 'image'
"""Name of the input."""


class ExportedModelError(UserError, ValueError):
    """An exported file is damaged, of another version, or does not agree with itself."""


@dataclass(frozen=True, kw_only=True)
class Description:
    """What the user of an exported model has to know.

    Attributes:
        format: Its format, a key of :data:`casvit.exported.formats.FORMATS`.
        task: 'detection', 'instance', 'semantic' or 'classification'.
        model: What it is, for people: 'MaskRCNN with CAS-ViT-XS'.
        classes: Names of the classes.
        palette: An RGB colour of each class.
        size: Height and width of the input in pixels; None if it takes any.
        batch: Images per batch; None if it takes any number.
        preparation: How images become the input; see :mod:`casvit.exported.preparation`.
        resizes: Whether that is part of the file, which then takes images of any size, and answers
            in pixels of the image, without the padding.
        precision: 'fp32' or 'fp16'.
        score_threshold: Objects below this score are left out, unless another one is asked for.
        mask_threshold: The lowest probability of a pixel in an object's mask.
        mask_stride: 0 if masks are over the area of each box; else they are logits over the whole
            input, and one value spans this many pixels.
        enlarge_twice: Whether logits of classes are enlarged to the input first, and then to the
            image; or at once to the image.
        align_corners: How logits of classes are enlarged.
        raw: How the outputs of the network become objects, if that is not part of the file; see
            :func:`casvit.exported.decoding.problem_of`.
        weights_sha256: SHA-256 of the checkpoint that was exported.
        files: SHA-256 of the other files that belong to it, by their names.
        casvit: Version of this package that exported it.
    """

    format: str
    task: str
    model: str
    classes: Sequence[str]
    palette: Sequence[Colour]
    size: tuple[int, int] | None
    batch: int | None
    preparation: Sequence[Step]
    resizes: bool = False
    precision: str = 'fp32'
    score_threshold: float = SCORE_THRESHOLD
    mask_threshold: float = 0.5
    mask_stride: int = 0
    enlarge_twice: bool = True
    align_corners: bool = False
    raw: Mapping[str, Any] | None = None
    weights_sha256: str = ''
    files: Mapping[str, str] = field(default_factory=dict)
    casvit: str = ''

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs of the file."""
        if self.raw is not None:
            return RAW_OUTPUTS
        more = (MASK_BOXES,) if self.resizes and self.task == 'instance' else ()
        return OUTPUTS[self.task] + more

    @property
    def input_size(self) -> tuple[int, int] | None:
        """Height and width of what the file takes in pixels; None if it takes any."""
        return None if self.resizes else self.size

    def to_json(self) -> str:
        """The description as JSON."""
        return json.dumps({'version': VERSION, **asdict(self)}, indent=1, ensure_ascii=False)


def parse_description(text: str, file: str) -> Description:
    """Reads a description and checks it.

    Args:
        text: JSON.
        file: The file it is from, for messages.

    Raises:
        ExportedModelError: It is no description, or invalid.
    """
    try:
        values = json.loads(text) if len(text) <= LARGEST else None
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict) or 'version' not in values:
        raise ExportedModelError(
            f'{file} has no description of a model that `casvit export` writes: export the model '
            'again.'
        )
    if values.pop('version') != VERSION:
        raise ExportedModelError(
            f'{file} was exported by version {values.get("casvit", "?")} of casvit-mm, whose files '
            'this version cannot read: export the model again, or install that version.'
        )
    known = {each.name for each in fields(Description)}
    values = {key: value for key, value in values.items() if key in known}
    try:
        problem = _problem(values)
    except (TypeError, KeyError, AttributeError, ValueError):
        problem = 'values of the wrong type, or missing ones'
    if problem:
        raise ExportedModelError(
            f'The description in {file} is invalid ({problem}): export the model again.'
        )
    values.update(
        palette=tuple((red, green, blue) for red, green, blue in values['palette']),
        size=None if values['size'] is None else (values['size'][0], values['size'][1]),
        classes=tuple(values['classes']),
    )
    return Description(**values)


def _problem(values: dict[str, Any]) -> str:
    """What is wrong with the values of a description; empty if nothing is."""
    if values['task'] not in CHECKED_TASKS:
        return f'unknown task {values["task"]!r}'
    classes, palette = values['classes'], values['palette']
    if not classes or not all(isinstance(name, str) for name in classes):
        return 'no classes'
    bytes_only = (_whole(value, 0, 255) for colour in palette for value in colour)
    if len(palette) != len(classes) or not all(len(colour) == 3 for colour in palette):
        return 'not one colour for each class'
    if not all(bytes_only):
        return 'colours outside 0 to 255'
    size = values['size']
    if size is not None and not (len(size) == 2 and all(_whole(side, 1, 2**15) for side in size)):
        return f'invalid size {size!r}'
    if values['batch'] is not None and not _whole(values['batch'], 1, 2**15):
        return f'invalid batch size {values["batch"]!r}'
    if values.get('precision', 'fp32') not in ('fp32', 'fp16'):
        return f'unknown precision {values["precision"]!r}'
    for key in ('score_threshold', 'mask_threshold'):
        if not 0 <= float(values.get(key, 0)) <= 1:
            return f'{key} is not between 0 and 1'
    if not _whole(values.get('mask_stride', 0), 0, 1024):
        return 'invalid mask_stride'
    if not all(isinstance(each, str) for each in (values['format'], values['model'])):
        return 'no format or model'
    if (raw := values.get('raw')) is not None:
        if values['task'] != 'detection':
            return f'decoding of boxes for {values["task"]}'
        if problem := problem_of(raw):
            return problem
    files = values.get('files', {})
    if not all(isinstance(each, str) for pair in files.items() for each in pair):
        return 'invalid list of files'
    try:
        check_steps(values['preparation'])
        if values.get('resizes', False):
            return _problem_of_resizing(values)
    except PreparationError as error:
        return str(error)
    return ''


def _problem_of_resizing(values: dict[str, Any]) -> str:
    """What is wrong with a file that resizes images; empty if nothing is."""
    if values['resizes'] is not True or values['batch'] != 1:
        return 'not one image at a time for resizing inside the file'
    if values.get('raw') is not None or values.get('mask_stride', 0):
        return 'outputs that need the padding, which is cut off inside the file'
    if values['size'] is None or fit_of(values['preparation']).to != tuple(values['size']):
        return 'another size than that of its preparation of images'
    return ''


def _whole(value: Any, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most


def description_file(model: Path) -> Path:
    """The file beside an exported model that describes it, if its format has no place for that."""
    return model.with_name(f'{model.name}.json')


def read_description(model: Path) -> Description:
    """Reads the description beside an exported model.

    Raises:
        ExportedModelError: It is missing or invalid.
        OSError: It cannot be read.
    """
    file = description_file(model)
    if not file.is_file():
        raise ExportedModelError(
            f'{model} has no description: the file {file.name} that `casvit export` writes has to '
            'be in the same folder.'
        )
    with file.open('rb') as stream:
        content = stream.read(LARGEST + 1)
    return parse_description(content.decode('utf-8', errors='replace'), str(file))


def require_own_files(description: Description, model: Path) -> None:
    """Checks the other files that belong to a model.

    Raises:
        ExportedModelError: One is missing, in another folder, or not the one that was exported.
        OSError: One cannot be read.
    """
    for name, digest in description.files.items():
        file = model.with_name(name) if Path(name).name == name else None
        if file is None:
            raise ExportedModelError(
                f'{model} names the file {name}, which is not in its own folder.'
            )
        if not file.is_file():
            raise ExportedModelError(f'{model} needs the file {file}, which is missing.')
        if sha256(file) != digest:
            raise ExportedModelError(
                f'{file} does not belong to {model}: it has changed since the export. Export the '
                'model again.'
            )
