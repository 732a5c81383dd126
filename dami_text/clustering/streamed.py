"""The swap search without the distance matrix."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dami_text.clustering.distances import Tiles, Vectors
from dami_text.clustering.fasterpam import Begin, beginning, swap_block
from dami_text.clustering.progress import progress

PROMISING = 0.3  # the share of the candidates that the next sweep looks at again
PROBED = 5  # one in so many candidates tells whether another full sweep is worth its while,
ENOUGH = 1e-3  # which it is where it promises to gain this share of the loss
SMALL = 2_500  # candidates up to which every sweep is a full one: they cost little


def swap_narrowing(points: Vectors, candidates: Vectors, medoids: Tensor, max_iter: int) -> tuple[Tensor, int]:
    """Swap medoids (K,), places among the candidates, so that the loss of the points falls.

    A full sweep over the candidates computes every distance once. The sweeps after it are narrow: each looks again at
    the three tenths of the candidates that came closest to a profitable swap in the one before. Then every fifth
    candidate is looked at again: where these gain enough, a full sweep follows, and so on. All together cost 1.6 times
    a full sweep, or 3.2 times where there is much left to gain. Of few candidates all sweeps are full, and end where no
    swap lowers the loss.

    Returns the medoids and the number of sweeps, max_iter at most.
    """
    every = torch.arange(len(candidates), device=medoids.device)
    small, sweeps, begin = len(every) <= SMALL, 0, beginning(medoids.device)

    def sweep(rows: Tensor) -> tuple[Tensor, NDArray[np.floating], float]:
        nonlocal sweeps
        sweeps += 1
        distances = Tiles(points, candidates[rows])
        places = torch.isin(rows, medoids).nonzero().view(-1)
        places, changes, gained = _sweep(distances, places, begin, f"K-medoids, sweep {sweeps}")
        return rows[places], changes, gained

    while sweeps < max_iter:
        rows = every
        medoids, changes, gained = sweep(rows)
        if small and gained > 0:
            continue
        if small or (sweeps > 1 and gained < ENOUGH):
            break
        while sweeps < max_iter and (others := int(PROMISING * (len(rows) - len(medoids)))) >= len(medoids):
            promising = np.sort(changes.argsort(kind="stable")[: len(medoids) + others])
            rows = rows[torch.from_numpy(promising).to(rows.device)]
            medoids, changes, _ = sweep(rows)
        if sweeps < max_iter:
            medoids, _, gained = sweep(torch.cat([medoids, every[::PROBED]]).unique())
            if gained * PROBED < ENOUGH:
                break
    return medoids, sweeps


def _sweep(distances: Tiles, medoids: Tensor, begin: Begin, title: str) -> tuple[Tensor, NDArray[np.floating], float]:
    """One sweep over the candidates, whose places the medoids (K,) are.

    Returns the new medoids, how much each candidate would have changed the loss (-inf for medoids, which so stay among
    the promising), and the share of the loss that was gained.
    """
    state = begin(distances, medoids)
    before = state.loss
    changes = np.concatenate([swap_block(distances, state, block) for block in progress(distances.blocks, title)])
    found, after = state.medoids, state.loss
    changes[found] = -np.inf
    return torch.from_numpy(found).to(medoids.device), changes, (before - after) / before if before > 0 else 0.0
