"""The models and the strategies that options know by name, and the module in which each of them is.

To add one, write its module and a line here.
"""

from importlib import import_module
from typing import Any

#: The kinds of models; `auto` is one of the others. Whatever else `--model` names is a pretrained encoder.
AUTO = "auto"
MODELS = {
    AUTO: "dami_text.models.kinds.automatic:AUTOMATIC",
    "cnn": "dami_text.models.kinds.word_level:CNN",
    "bilstm": "dami_text.models.kinds.word_level:BILSTM",
    "linear": "dami_text.models.kinds.linear:LINEAR",
    "mlp": "dami_text.models.kinds.table:MLP",
}
PRETRAINED = "dami_text.models.kinds.encoder:ENCODER"

#: What Python's `make_learner` is given as an object; no command takes these names.
OWN_CLASSIFIER, OWN_NETWORK = "own-classifier", "own-network"
OWN_MODELS = {
    OWN_CLASSIFIER: "dami_text.models.kinds.own:CLASSIFIER",
    OWN_NETWORK: "dami_text.models.kinds.own:NETWORK",
}

STRATEGIES = {
    "random": "dami_text.strategies.random:RandomSampling",
    "least-confidence": "dami_text.strategies.uncertainty:Uncertainty",
    "margin": "dami_text.strategies.uncertainty:Uncertainty",
    "entropy": "dami_text.strategies.uncertainty:Uncertainty",
    "bald": "dami_text.strategies.bald:Bald",
    "egl": "dami_text.strategies.egl:Egl",
    "egl-word": "dami_text.strategies.egl_word:EglWord",
    "coreset": "dami_text.strategies.coreset:Coreset",
    "badge": "dami_text.strategies.badge:Badge",
    "dami": "dami_text.strategies.dami:Dami",
    "dami-kcenter": "dami_text.strategies.dami_kcenter:DamiKCenter",
    "dami-margin": "dami_text.strategies.dami_margin:DamiMargin",
    "kmeans-features": "dami_text.strategies.kmeans_features:KMeansFeatures",
    "cluster-margin": "dami_text.strategies.cluster_margin:ClusterMargin",
    "typiclust": "dami_text.strategies.typiclust:TypiClust",
    "probcover": "dami_text.strategies.probcover:ProbCover",
    "cal": "dami_text.strategies.cal:Cal",
    "dropquery": "dami_text.strategies.dropquery:DropQuery",
    "expected-errors": "dami_text.strategies.expected_errors:ExpectedErrors",
    "positives": "dami_text.strategies.positives:Positives",
}

#: Those that are for texts with any number of labels alone.
LABEL_STRATEGIES = {"cvirs": "dami_text.strategies.cvirs:Cvirs", "lci": "dami_text.strategies.lci:Lci"}


def find(place: str) -> Any:
    """What the name after the colon stands for in the module before it.

    Raises:
        ImportError, AttributeError, ValueError: there is no such module or name.
    """
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)
