"""Formats that casvit does not read itself: recognised by their files, read by `datumaro`."""

from casvit_mm.datasets.formats.foreign.read import disclaim, read, readable
from casvit_mm.datasets.formats.foreign.signatures import recognise

__all__ = ['disclaim', 'read', 'readable', 'recognise']
