"""Numbers and answers of all processes of a run, by which each of them decides the same."""

import torch
from mmengine.dist import all_reduce, get_rank, get_world_size


def highest(number: float) -> float:
    """The highest of a number of each process; all of them have to ask.

    Args:
        number: That of this process.
    """
    if get_world_size() == 1:
        return number
    shared = torch.tensor(float(number))
    all_reduce(shared, 'max')
    return float(shared)


def in_any_process(holds: bool) -> bool:
    """Whether something holds in any process of a run; all of them have to ask.

    Args:
        holds: Whether it holds in this one.
    """
    return bool(highest(holds))


def is_first_with(holds: bool) -> bool:
    """Whether this is the first process in which something holds; all of them have to ask.

    Args:
        holds: Whether it holds in this one. If it does in none, the first process is meant.
    """
    last = get_world_size()
    first = -highest(-(get_rank() if holds else last))
    return get_rank() == int(first) % last
