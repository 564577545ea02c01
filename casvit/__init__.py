"""CAS-ViT for users: commands, the Predictor and its results; torch is imported only if needed."""

from typing import TYPE_CHECKING

from casvit.lazy import lazy_attributes

if TYPE_CHECKING:
    from casvit.configs import config_path
    from casvit.errors import UserError
    from casvit.inputs.camera import Camera
    from casvit.inputs.streams import Video, VideoWriter, list_images
    from casvit.predictor import Predictor
    from casvit.results import Classification, Detections, SemanticMap
    from casvit.tables import channels

__version__ = '0.1.0'

__all__ = [
    'Camera',
    'Classification',
    'Detections',
    'Predictor',
    'SemanticMap',
    'UserError',
    'Video',
    'VideoWriter',
    '__version__',
    'channels',
    'config_path',
    'list_images',
]

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        'Camera': 'casvit.inputs.camera',
        'Classification': 'casvit.results',
        'Detections': 'casvit.results',
        'Predictor': 'casvit.predictor',
        'SemanticMap': 'casvit.results',
        'UserError': 'casvit.errors',
        'Video': 'casvit.inputs.streams',
        'VideoWriter': 'casvit.inputs.streams',
        'channels': 'casvit.tables',
        'config_path': 'casvit.configs',
        'list_images': 'casvit.inputs.streams',
    },
)
