"""Image files of every common type and mode, for tests that read images."""

from pathlib import Path

import numpy as np
from PIL import Image

# The modes that each type supports: of the file, or of the image that is saved to it.
KINDS = [
    *(('.jpg', mode) for mode in ('L', 'RGB', 'CMYK')),
    *(('.png', mode) for mode in ('1', 'L', 'P', 'transparent P', 'LA', 'RGB', 'RGBA', 'I;16')),
    *(('.tif', mode) for mode in ('1', 'L', 'P', 'LA', 'RGB', 'RGBA', 'CMYK', 'I;16')),
    *(('.webp', mode) for mode in ('L', 'RGB', 'RGBA')),
    *(('.bmp', mode) for mode in ('1', 'L', 'P', 'RGB')),
]
# Types that support an EXIF orientation.
TURNED = ('.jpg', '.png', '.tif', '.webp')


def write_image(path, mode='RGB', size=(40, 30), orientation=None, seed=0) -> Path:
    """Writes an image of smooth noise; ``size`` is width and height as stored."""
    width, height = size
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8))
    image = coarse.resize((width, height))
    if mode == 'I;16':
        image = Image.fromarray(np.asarray(image.convert('L')).astype(np.uint16) * 200)
    elif mode == 'transparent P':
        image = image.convert('P')
        image.info['transparency'] = 3
    else:
        image = image.convert(mode)
    options = {}
    if orientation is not None:
        options['exif'] = Image.Exif()
        options['exif'][0x0112] = orientation
    if Path(path).suffix == '.webp':
        options['lossless'] = True
    if 'transparency' in image.info:
        options['transparency'] = image.info['transparency']
    image.save(path, **options)
    return Path(path)
