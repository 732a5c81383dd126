"""K-medoids for pools of any size: exact where the distance matrix fits, near-exact where it does not."""

from dami_text.clustering.kmedoids import KMedoids

__all__ = ["KMedoids"]
