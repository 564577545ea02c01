"""Computes again a training step whose numbers were not finite, and shows where they go wrong.

  casvit replay work_dirs/run/bad_steps/step_120.pth
      its losses, the first module whose output is not finite, the weights whose gradients are not,
      and the files of its images
  casvit replay step_120.pth --config CONFIG
      with the model of a config file, if the one in the file cannot be used
  casvit replay step_120.pth --device cpu
      where another device than that of the run may give finite numbers

A run writes such a file when a loss, a gradient or a weight is NaN or infinite. The file is read as
data, and so is the config in it. The exit code is 0 if the problem is there again, and 1 if the
step is finite here.
"""

from argparse import ArgumentParser

from casvit.cli import arguments


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of this command."""
    parser.add_argument('file', metavar='FILE', help='the step: WORK_DIR/bad_steps/step_N.pth')
    parser.add_argument(
        '--config',
        metavar='CONFIG',
        help='config with the model, instead of the one in the file',
    )
    arguments.add_device(parser)
