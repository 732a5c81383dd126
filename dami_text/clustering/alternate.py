"""Alternating K-medoids: assign every row to its nearest medoid, then take each cluster's best row as its medoid.

Source: Park & Jun, "A simple and fast algorithm for K-medoids clustering", Expert Systems with Applications 36(2),
2009. It finds much worse medoids than swaps do where the data are heavy-tailed, and is here for replication.
"""

import torch
from torch import Tensor

from dami_text.clustering.distances import Tiles, Vectors, assign, first_least, totals
from dami_text.clustering.progress import progress


def alternate(vectors: Vectors, medoids: Tensor, max_iter: int) -> tuple[Tensor, int]:
    """Alternate from the medoids (K,) until the loss no longer falls, for max_iter rounds at most.

    Returns the medoids and the number of rounds.
    """
    labels, distances = assign(vectors, medoids)
    loss = float(distances.double().sum())
    for iteration in range(1, max_iter + 1):
        updated = best_members(vectors, medoids, labels)
        labels, distances = assign(vectors, updated)
        updated_loss = float(distances.double().sum())
        if updated_loss >= loss:
            return medoids, iteration
        medoids, loss = updated, updated_loss
    return medoids, max_iter


def best_members(vectors: Vectors, medoids: Tensor, labels: Tensor) -> Tensor:
    """For each cluster the member with the smallest sum of distances to the members, the first within rounding."""
    best = medoids.clone()
    sizes = torch.bincount(labels, minlength=len(medoids)).tolist()
    clusters = labels.argsort(stable=True).split(sizes)
    for slot, members in enumerate(progress(clusters, "K-medoids, medoids of the clusters")):
        cluster = vectors[members]
        best[slot] = members[first_least(totals(Tiles(cluster, cluster)))]
    return best
