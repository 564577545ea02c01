"""COCO annotation files: found, read, completed and merged."""
