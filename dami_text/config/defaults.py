"""What the options of a run imply for others that are left open: by the data set, the task and the model."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from dami_text.config.kinds import kind_of
from dami_text.config.metrics import MULTILABEL
from dami_text.config.registry import AUTO

#: Texts in a batch of predictions or interpretations.
BATCH_SIZE = 64

#: Samples of BALD, and the rate of dropout before the head of a model that was trained without.
BALD_SAMPLES = 10
BALD_HEAD_DROPOUT = 0.5

#: How many times the query size of uncertain texts the strategies choose from that look for diverse ones.
UNCERTAIN = 10

#: What K-medoids may take: MiB for a matrix of distances, and seconds on one core of usual speed, in a run and where a
#: person waits.
CLUSTERING_MEMORY = 2048
CLUSTERING_SECONDS, PATIENCE = 60.0, 0.1

#: Labels between two trainings of a session, and before the first; with a model that is trained in about a second, such
#: as a frozen encoder's head, a person gets the next model sooner.
QUERY_SIZE, QUICK_QUERY_SIZE = 20, 10

#: What a simulation labels at the start, in each round and in all, as in the paper; `demo` is small.
PAPER = {"initial_size": 0.02, "query_size": 0.02, "budget": 0.5}
DEMO_BUDGET = 0.2

#: The paper's tables: the options that each implies; `data.tabular.FILES` knows their files.
PRESETS: dict[str, dict[str, Any]] = {
    "telescope": {"label_column": "target", "drop_columns": "class"},
    "default": {
        "label_column": "default_payment_next_month",
        "drop_columns": "ID",
        "categorical_columns": "SEX,EDUCATION,MARRIAGE",
    },
    "employee": {
        "label_column": "ACTION",
        "categorical_columns": "RESOURCE,MGR_ID,ROLE_ROLLUP_1,ROLE_ROLLUP_2,ROLE_DEPTNAME,ROLE_TITLE,ROLE_FAMILY_DESC,"
        "ROLE_FAMILY,ROLE_CODE",
    },
    "news": {"label_column": "popular", "drop_columns": "shares,timedelta"},
}

#: How word vectors of the paper's texts are learned: gensim is not for every Python.
TRAINED_VECTORS = "word2vec" if find_spec("gensim") else "ppmi"

#: What was the default of an option once, and so is in the configs of runs and sessions where it was left open.
FORMER_DEFAULTS: dict[str, tuple[Any, ...]] = {"word_vectors": ("word2vec", "ppmi")}

#: The paper's texts, whose models start from vectors of word2vec.
PAPER_TEXTS = ("subj", "mr")

TABULAR: dict[str, Any] = {"task": "tabular", "model": "mlp"}

#: What suits texts of any number of labels.
OF_MULTILABEL: dict[str, Any] = {"metric": MULTILABEL[0], "strategy": "margin"}


def implied_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """What the given options imply for others, by name: the paper's data sets what it did, a model its training."""
    dataset = options.get("dataset")
    implied = {**(TABULAR if options.get("task") == "tabular" or dataset in PRESETS else {})}
    implied |= PRESETS.get(str(dataset), {})
    implied |= OF_MULTILABEL if options.get("task") == "multilabel" else {}
    given = implied | dict(options)
    kind = kind_of(given.get("model"))
    if dataset in PAPER_TEXTS and "word_vectors" not in kind.ignores:
        implied["word_vectors"] = TRAINED_VECTORS
    if options.get("describe"):
        implied["cold_start"] = "described"
    return kind.defaults(given) | implied


def session_query_size(options: Mapping[str, Any]) -> int:
    """Labels between two trainings of a new session with these options, and before the first."""
    is_quick = options.get("model") in (AUTO, "linear") or options.get("freeze_encoder") is True
    return QUICK_QUERY_SIZE if is_quick else QUERY_SIZE
