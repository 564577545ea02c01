"""Explains errors in a sentence: what is wrong, where, and what to do.

One function for each kind of cause: an error of this package, a file, memory, a missing package, a
part of the config that cannot be built, and a part that fails while it runs.
"""

import difflib
import errno
import re

from casvit.cli.parts import (
    Building,
    Part,
    arguments_of,
    being_built,
    failed_line,
    frames,
    place,
    running,
    running_in_text,
)
from casvit.errors import UserError
from casvit.extras import OPENMMLAB
from casvit.sentences import short

BUILDING_ERRORS = (ValueError, KeyError, TypeError, AssertionError, AttributeError, IndexError)
# Of mmengine, which spells it so.
UNLIKE = 'each data_itement in list of batch should be of equal size'
# Of NumPy, as mmengine packs the records of a dataset.
EMPTY = 'need at least one array to concatenate'
IN_WORKER = 'DataLoader worker process'
INSTALL = re.compile(r"pip3? install (?:-U )?([\w \[\].<>=!,'-]+)")
NOT_INSTALLED = re.compile(r'^([\w-]+) is not installed')
UNKNOWN_ARGUMENT = re.compile(r"unexpected keyword argument '(\w+)'")
MISSING_KEY = re.compile(r"(?:has no attribute |^KeyError: |assert )'(\w+)'")
CONFIG_KEY = re.compile(r"'ConfigDict' object has no attribute '(\w+)'")
CHANNELS = re.compile(r'to have (\d+) channels, but got (\d+) channels instead')
LOADED_BY = {
    'img': 'LoadImageFromFile',
    'ori_shape': 'LoadImageFromFile (and the meta_keys of the last step)',
    'img_shape': 'LoadImageFromFile (and the meta_keys of the last step)',
    'bboxes': 'LoadAnnotations with with_bbox=True',
    'labels': 'LoadAnnotations with with_bbox=True',
    'gt_bboxes': 'LoadAnnotations with with_bbox=True',
    'gt_bboxes_labels': 'LoadAnnotations with with_bbox=True',
    'masks': 'LoadAnnotations with with_mask=True',
    'gt_masks': 'LoadAnnotations with with_mask=True',
    'gt_seg_map': 'LoadAnnotations (in detection with with_seg=True)',
    'gt_sem_seg': 'LoadAnnotations (in detection with with_seg=True)',
    'gt_instances': 'PackDetInputs',
    'inputs': 'PackDetInputs (PackSegInputs, PackInputs)',
    'gt_label': 'PackInputs',
    'scale_factor': 'Resize (and the meta_keys of the last step)',
}
"""What a pipeline gives a model or a later transform, and which of its transforms does."""

REPLACED_TRANSFORMS = {
    'DefaultFormatBundle': 'PackDetInputs (PackSegInputs, PackInputs)',
    'Collect': 'PackDetInputs (PackSegInputs, PackInputs)',
    'ImageToTensor': 'PackDetInputs (PackSegInputs, PackInputs)',
    'MultiScaleFlipAug': 'TestTimeAug',
}
"""Transforms of versions before mmengine, and what replaced them."""

MIXING = (
    "It combines several images, so it belongs in the pipeline of a dataset of type='"
    "MultiImageMixDataset', around the dataset that loads them."
)


def explain(error: BaseException) -> str | None:
    """The sentence for an error that the user can fix; None if the error is a bug.

    Args:
        error: The exception.

    Returns:
        What is wrong, where, and what to do.
    """
    original = unwrapped(error)
    message = _message(original)
    if isinstance(original, UserError):
        return _without_worker(original, message)
    if 'out of memory' in message and isinstance(original, RuntimeError):
        return (
            f'{message.splitlines()[0]} Use a smaller batch: --cfg-options '
            'train_dataloader.batch_size=N (and --auto-scale-lr).'
        )
    if 'BackendCompilerFailed' in (kind.__name__ for kind in type(original).__mro__):
        return (
            f'torch.compile failed: {_compiler_message(message)} It needs a working C++ compiler, '
            'such as g++. Without one, leave out --compile, and speed.compile in a config.'
        )
    return (
        _explain_file(error, original, message)
        or _explain_package(error, original, message)
        or _explain_building(error, original, message)
        or _explain_running(error, original, message)
    )


def unwrapped(error: BaseException) -> BaseException:
    """Unwraps an error that registries of the original OpenMMLab line wrapped in its own type."""
    while (
        error.__context__ is not None
        and type(error.__context__) is type(error)
        and str(error).startswith('class `')
        and str(error).endswith(str(error.__context__))
    ):
        error = error.__context__
    return error


def _explain_file(error: BaseException, original: BaseException, message: str) -> str | None:
    if found := re.search(r'failed to load image: (.+)', message):
        return f'The image {found[1].strip()} cannot be read: it is damaged, or not an image.'
    if 'imdecode' in message and (file := _image_being_loaded(error)):
        return f'The image {file} cannot be read: it is empty, or damaged.'
    if not isinstance(original, OSError):
        return None
    if IN_WORKER in message:
        return f'The data loader cannot read a file: {_last_line(message)}.'
    if original.errno == errno.ENOSPC:
        return f'{original.filename or "A file"} cannot be written: the disk is full.'
    if original.filename:
        return f'{original.filename}: {original.strerror or message}.'
    return None


def _explain_package(error: BaseException, original: BaseException, message: str) -> str | None:
    """Explains that a part of the config needs a package that is not installed."""
    wanted = INSTALL.search(message)
    missing = NOT_INSTALLED.search(_last_line(message).removeprefix('RuntimeError: '))
    if isinstance(original, ModuleNotFoundError) and original.name:
        package = f'{original.name}, which is not installed: pip install {original.name}'
    elif wanted and isinstance(original, (ImportError, RuntimeError)):
        package = f'a package that is not installed: pip install {wanted[1].strip(" .")}'
    elif missing:
        package = f'{missing[1]}, which is not installed: pip install {missing[1]}'
    else:
        return None
    part = running(error) or being_built(error)
    if part is None and IN_WORKER in message:
        part = running_in_text(message)
    if part is None:
        return None
    return f'{_named(error, part)} of the config needs {package}.'


def _explain_building(error: BaseException, original: BaseException, message: str) -> str | None:
    """Explains an error that was raised while a registry built a part of a config."""
    building = being_built(error)
    if building is None or not isinstance(original, (*BUILDING_ERRORS, ImportError, OSError)):
        return None
    if 'must contain the key "type"' in message:
        where = place(error, '', building.values)
        return (
            f'A part of the config has no type: {where or short(building.values)}. If it '
            'is to change a part of the base config, its name has to be the same, without '
            '_delete_=True.'
        )
    where = _named(error, building)
    if message == EMPTY:
        return (
            f'The dataset {where} has no images left: its folder or annotation file is empty, or '
            'filter_cfg leaves all of them out.'
        )
    if isinstance(original, KeyError) and 'is not in the' in message:
        return (
            f'The config uses {where}, which is not registered. {_similar(building)} it is your '
            "own class, add its module to custom_imports (together with 'casvit_mm')."
        )
    if unknown := UNKNOWN_ARGUMENT.search(message):
        # Building a lazily registered class has put it in the place of its factory.
        cls = building.registry.get(building.name) if building.registry else building.cls
        near = difflib.get_close_matches(unknown[1], arguments_of(cls or building.cls), n=1)
        hint = f' Did you mean {near[0]}?' if near else ''
        return f'The config uses {where} with invalid values: {_in_a_line(message)}.{hint}'
    if isinstance(original, AssertionError) and not str(original):
        message = failed_line(original)
    return f'The config uses {where} with invalid values: {_in_a_line(message)}'


def _explain_running(error: BaseException, original: BaseException, message: str) -> str | None:
    """Explains an error of a part of a config in the middle of a run."""
    if not isinstance(original, Exception):
        return None
    if IN_WORKER in message:
        part, message = running_in_text(message), _raised_in_text(message)
    else:
        part, message = running(error), _with_kind(original, message)
    if part is None and UNLIKE in message:
        return (
            'The samples of a batch have different contents: a pipeline has to end with '
            'PackDetInputs in mmdet, PackSegInputs in mmseg and PackInputs in mmpretrain.'
        )
    if part is None:
        return None
    where = place(error, part.name)
    at = f' ({where})' if where else ''
    return (
        f'The {part.kind} {part.name}{at} failed: {message.rstrip(".")}. {_advice(part, message)}'
    )


def _advice(part: Part, message: str) -> str:
    if 'mix_results' in message:
        return MIXING
    channels = CHANNELS.search(message)
    if channels and part.name == 'CASViT':
        return (
            f'The model takes images with {channels[1]} channels, but the data pipeline loads '
            f'{channels[2]}: docs/bands.md shows how images that are not RGB are loaded.'
        )
    if key := CONFIG_KEY.search(message):
        return f'Its part of the config, or the train_cfg or test_cfg of the model, lacks {key[1]}.'
    for name in MISSING_KEY.findall(message):
        # mmengine's samples keep their values under names with an underscore.
        key = name.lstrip('_')
        if key in LOADED_BY:
            return f'It needs {key!r} from the data pipeline, where {LOADED_BY[key]} provides it.'
    return 'Check its values, and those of the parts before it, in the config.'


def _named(error: BaseException, part: Building | Part) -> str:
    """A part of a config, with its place in it."""
    values = part.values if isinstance(part, Building) else None
    key = part.key if isinstance(part, Building) else 'type'
    where = place(error, part.name, values)
    return f'{key}={part.name!r}' + (f' ({where})' if where else '')


def _similar(building: Building) -> str:
    """Names of registered classes that the unknown one may stand for."""
    root = getattr(building.registry, 'root', building.registry)
    if root is None:
        return 'Check the spelling; if'
    if new := REPLACED_TRANSFORMS.get(building.name):
        return f'In this version of OpenMMLab it is {new}; if'
    of_scope = {scope: each.module_dict for scope, each in getattr(root, 'children', {}).items()}
    for scope in OPENMMLAB:
        if building.name in of_scope.get(scope, ()):
            # Another toolbox may be the right default.
            chosen = building.registry.scope in of_scope
            default = '' if chosen else f'set default_scope={scope!r} in the config, or '
            return f"It is a name of {scope}: {default}write '{scope}.{building.name}'; if"
    known = [*root.module_dict, *(name for names in of_scope.values() for name in names)]
    by_lower = {name.lower(): name for name in known if isinstance(name, str)}
    bare = building.name.rsplit('.', 1)[-1].lower()
    near = [by_lower[name] for name in difflib.get_close_matches(bare, by_lower, 2, 0.7)]
    return f'Did you mean {" or ".join(map(repr, near))}? If' if near else 'Check the spelling; if'


def _with_kind(error: BaseException, message: str) -> str:
    """A message that reads on its own."""
    if isinstance(error, AssertionError) and not str(error):
        return failed_line(error)
    if isinstance(error, KeyError) and ' ' not in message:
        return f'KeyError: {message!r}'
    return _in_a_line(message.split('\n\n')[0])


def _in_a_line(message: str) -> str:
    return ' '.join(message.split())


def _last_line(message: str) -> str:
    return (message.strip().splitlines() or [''])[-1]


def _raised_in_text(text: str) -> str:
    """The message of a traceback; the condition of an assertion without one."""
    last = _last_line(text)
    conditions = [line.strip() for line in text.splitlines() if line.strip().startswith('assert ')]
    return conditions[-1] if last == 'AssertionError' and conditions else last


def _compiler_message(message: str) -> str:
    """The message of torch's compiler, without the backend name that older versions add."""
    lines = [line for line in message.splitlines() if line and not line.startswith('backend=')]
    return lines[0] if lines[0].endswith('.') else f'{lines[0]}.'


def _without_worker(original: BaseException, message: str) -> str:
    """The message of an error that a loader process sent as text together with its traceback."""
    kind = type(original)
    start = f'{kind.__module__}.{kind.__qualname__}: '
    if IN_WORKER in message and start in message:
        return message[message.rindex(start) + len(start) :].rstrip()
    return message


def _image_being_loaded(error: BaseException) -> str | None:
    """The file that mmcv was loading; OpenCV's own errors do not name it."""
    names = [frame.f_locals.get('filename') for frame in frames(error)]
    return next((name for name in reversed(names) if isinstance(name, str)), None)


def _message(error: BaseException) -> str:
    if isinstance(error, KeyError) and error.args:
        return str(error.args[0])
    return str(error) or type(error).__name__
