"""Evaluates a checkpoint, or writes its predictions.

  casvit test CONFIG CHECKPOINT
      the evaluation table: COCO's for detection, the IoU of every class for segmentation
  casvit test CONFIG CHECKPOINT --show-dir images
      also draws ground truth and predictions side by side
  casvit test CONFIG CHECKPOINT --tta
      merges predictions for several scales and flips of every image
  casvit test CONFIG CHECKPOINT --fuse --compile
      the same results, faster: compilation takes a minute or more once
  casvit test CONFIG --backend model.onnx
      the same evaluation of an exported model, which reads and prepares the images itself
  casvit test CONFIG CHECKPOINT --format-only out/test-dev \\
      --cfg-options test_dataloader.dataset.ann_file=annotations/image_info_test-dev2017.json
      out/test-dev.bbox.json and .segm.json, as COCO's test server takes them; no annotations needed
  casvit test SEGMENTATION_CONFIG CHECKPOINT --format-only out/masks
      one PNG per image, with the same pixel values as the semantic masks of the dataset

CHECKPOINT may be the checkpoint of a training run, a published one, or .safetensors; all of its
weights must fit the model.
"""

from argparse import ArgumentParser

from casvit.cli import arguments


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of this command."""
    arguments.add_config(parser)
    arguments.add_size(parser)
    arguments.add_checkpoint(parser, optional=True)
    parser.add_argument(
        '--backend',
        metavar='FILE',
        help='evaluate an exported model (see casvit export) instead of a checkpoint',
    )
    arguments.add_trust(parser)
    arguments.add_work_dir(parser)
    arguments.add_weights(parser)
    parser.add_argument(
        '--out', metavar='FILE.pkl', help='write raw predictions and ground truth to this file'
    )
    parser.add_argument(
        '--show-dir', metavar='DIR', help='write images with drawn predictions to this folder'
    )
    parser.add_argument('--tta', action='store_true', help='test-time augmentation')
    parser.add_argument(
        '--format-only',
        metavar='PREFIX',
        help='only write predictions, without evaluation: PREFIX.bbox.json (and .segm.json) in '
        'COCO format, or a folder of semantic masks',
    )
    parser.add_argument(
        '--no-data-check',
        action='store_true',
        help='skip the check of the data before testing; masks that would crash the process are '
        'refused all the same',
    )
    arguments.add_acceleration(parser)
    arguments.add_drawing(parser)
    arguments.add_seed(parser)
    arguments.add_quiet(parser)
    arguments.add_launcher(parser)
