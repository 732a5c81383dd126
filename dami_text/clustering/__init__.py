"""K-medoids for pools of any size: on the matrix of distances, streamed in tiles, or by samples."""

from dami_text.clustering.kmedoids import KMedoids

__all__ = ["KMedoids"]
