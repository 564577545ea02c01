"""Segmentation masks of objects in COCO's forms: polygons and run lengths."""
