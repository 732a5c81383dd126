"""Alternating K-medoids: assign every row to its nearest medoid, then take each cluster's best row as its medoid.

Source: Park & Jun, "A simple and fast algorithm for K-medoids clustering", Expert Systems with Applications 36(2),
2009. It finds much worse medoids than swaps do where the data are heavy-tailed, and is here for replication.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from dami_text.clustering.distances import (
    Matrix,
    Tiles,
    Vectors,
    assign,
    first_least,
    members_of,
    pair_by_pair,
    tile_numbers,
    totals,
)
from dami_text.clustering.progress import progress
from dami_text.models.scores import ROUNDING
from dami_text.processes import is_card

LARGE = 1_000  # members of a cluster that are compared with each other, to tell which are equally good medoids


def alternate(vectors: Vectors, medoids: Tensor, max_iter: int) -> tuple[Tensor, int]:
    """Alternate from the medoids (K,) until the loss no longer falls, for max_iter rounds at most.

    Returns the medoids and the number of rounds.
    """
    labels, distances = assign(vectors, medoids)
    loss = vectors.total(distances)
    for iteration in range(1, max_iter + 1):
        updated = best_members(vectors, medoids, labels)
        labels, distances = assign(vectors, updated)
        updated_loss = vectors.total(distances)
        if updated_loss >= loss:
            return medoids, iteration
        medoids, loss = updated, updated_loss
    return medoids, max_iter


def best_members(vectors: Vectors, medoids: Tensor, labels: Tensor) -> Tensor:
    """For each cluster the member with the smallest sum of distances to the members, the first within rounding."""
    best = medoids.clone()
    for slot, members in enumerate(progress(members_of(labels, len(medoids)), "K-medoids, medoids of the clusters")):
        best[slot] = _best(vectors, members)
    return best


def first_of_equals(vectors: Vectors, medoids: Tensor, matrix: Matrix | None = None) -> Tensor:
    """The medoids (K,), or in their place the first members of their clusters that are as good.

    `matrix`: the distances among the vectors, where they are in memory.

    Which one of a pair a search ends at hangs on rounding. In clusters of more than `LARGE` rows, whose members are as
    good only where they are the same, the first row that is the medoid's equal is taken.
    """
    labels, distances = assign(vectors, medoids)
    if is_card(medoids.device):
        return _first_of_all(vectors, labels, distances, len(medoids))
    first = medoids.clone()
    for slot, members in enumerate(members_of(labels, len(medoids))):
        if len(members) > LARGE:
            first[slot] = members[(distances[members] == 0).nonzero()[0, 0]]
        elif len(members) > 1:
            first[slot] = _best(vectors, members, matrix)
    return first


def _first_of_all(vectors: Vectors, labels: Tensor, to_own: Tensor, n_clusters: int) -> Tensor:
    """What `first_of_equals` returns, of many clusters at once: a card waits for Python between them.

    Args:
        vectors: the rows (N,).
        labels: (N,) their slots.
        to_own: (N,) their distances to their medoids.
        n_clusters: K.
    """
    sizes = torch.bincount(labels, minlength=n_clusters)
    order, ends = labels.argsort(stable=True), sizes.cumsum(dim=0)
    sums = torch.where(to_own == 0, 0.0, torch.inf).double()  # of large clusters
    for slots in _groups(sizes.tolist(), tile_numbers(labels.device)):
        rows = order[ends[slots.start] - sizes[slots.start] : ends[slots.stop - 1]]
        of = labels[rows]
        partners = sizes[of]
        firsts = partners.cumsum(dim=0) - partners
        pairs = torch.arange(len(rows), device=rows.device).repeat_interleave(partners)
        others = (ends - sizes)[of][pairs] + torch.arange(len(pairs), device=rows.device) - firsts[pairs]
        distances = pair_by_pair(vectors, order[others], vectors, rows[pairs]).double()
        if vectors.weights is not None:
            distances *= vectors.weights[order[others]]
        sums[rows] = distances.new_zeros(len(rows)).index_add_(0, pairs, distances)
    least = sums.new_full((n_clusters,), torch.inf).scatter_reduce_(0, labels, sums, "amin")
    good = sums <= (least + ROUNDING * least.abs())[labels]
    places = torch.arange(len(labels), device=labels.device).where(good, len(labels))
    return places.new_full((n_clusters,), len(labels)).scatter_reduce_(0, labels, places, "amin")


def _groups(sizes: list[int], most: int) -> Iterator[range]:
    """The slots of clusters of these sizes that follow each other, with `most` pairs of members or one cluster.

    Large clusters are left out.
    """
    start, pairs = 0, 0
    for slot, size in enumerate([*sizes, LARGE + 1]):
        if size > LARGE or pairs + size**2 > most:
            if slot > start:
                yield range(start, slot)
            start, pairs = (slot + 1, 0) if size > LARGE else (slot, 0)
        pairs += size**2 if size <= LARGE else 0


def _best(vectors: Vectors, members: Tensor, matrix: Matrix | None = None) -> Tensor:
    if matrix is not None:
        sums = matrix.among(members).sum(dim=0, dtype=torch.float64)
    else:
        cluster = vectors[members]
        sums = totals(Tiles(cluster, cluster))
    return members[first_least(sums.cpu().numpy())]
