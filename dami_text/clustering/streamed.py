"""The swap search without the distance matrix."""

import torch
from torch import Tensor

from dami_text.clustering.distances import Tiles, Vectors
from dami_text.clustering.fasterpam import assigned, swap_block, swap_until_optimal
from dami_text.clustering.progress import progress

PROMISING = 0.1  # the share of the candidates that is looked at again


def swap_once_through(
    points: Vectors, candidates: Vectors, medoids: Tensor, max_iter: int, max_numbers: int
) -> tuple[Tensor, int]:
    """Swap medoids (K,), places among the candidates, in one sweep over all candidates, then over the promising ones.

    The first sweep computes every distance once. What it leaves is found, nearly all, among the tenth of the
    candidates that came closest to a profitable swap in it: those are swept until no swap lowers the loss.

    Returns the medoids and the number of sweeps.
    """
    distances = Tiles(points, candidates, max_numbers)
    state = assigned(distances, medoids)
    changes = torch.cat([swap_block(distances, state, part) for part in progress(distances.blocks, "K-medoids, sweep 1")])
    changes[state.medoids] = -torch.inf
    chosen = changes.topk(min(len(changes), len(medoids) + int(PROMISING * len(changes))), largest=False).indices
