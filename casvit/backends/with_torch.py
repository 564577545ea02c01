"""What the backends that need torch have in common."""

from types import ModuleType

from casvit.exported.model import missing_package


def torch_with_operators(format_name: str, threads: int | None) -> ModuleType:
    """torch, once it knows the operators of detectors.

    Args:
        format_name: The format that needs it.
        threads: Threads that compute an operation, in the whole process; None to leave them.

    Raises:
        MissingPackageError: torch or torchvision cannot be imported.
    """
    try:
        import torch
        import torchvision  # noqa: F401  registers the operators
    except ImportError as error:
        raise missing_package(format_name, error) from error
    if threads is not None:
        torch.set_num_threads(threads)
    return torch
