"""Roots of datasets, which are folders or URLs."""

from pathlib import Path


def is_remote(path: str) -> bool:
    """Whether a path is a URL that only a file backend can open."""
    return '://' in path


def join(root: str, path: str) -> str:
    """Joins the root and a path of a dataset."""
    # As mmengine's BaseDataset joins them.
    if is_remote(root) and not is_remote(path):
        return f'{root.rstrip("/")}/{path}' if path else root
    return path if not root or is_remote(path) else str(Path(root, path))
