"""Tries the heads of mmdet's and mmseg's own configs behind a CAS-ViT."""
