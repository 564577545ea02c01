"""Reads files from strangers: interprets what is in them, and never calls what they name.

A checkpoint of ``torch.save`` is a pickle, and unpickling runs whatever functions the file names.
Here the pickle is interpreted instead: it can only give plain data, tensors, arrays and inert
records, the same with every version of torch, and everything that it can ask for is bounded.
"""

from casvit_mm.models.checkpoint.content.pickles.records import Name, Record
from casvit_mm.models.checkpoint.content.reading import read_content
from casvit_mm.models.checkpoint.content.restore import restored

__all__ = ['Name', 'Record', 'read_content', 'restored']
