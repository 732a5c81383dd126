"""The options of what a run learns from: texts or tables, how they are tokenized, and word vectors."""

import codecs
from dataclasses import dataclass
from typing import ClassVar, Literal

from dami_text.config.defaults import PRESETS
from dami_text.config.fields import Options, option

#: What stands between the names of several text columns.
JOIN = " + "


@dataclass(frozen=True, kw_only=True)
class DataConfig(Options):
    """Where the texts come from and how they are split."""

    _argument_group_name: ClassVar[str] = "data"

    dataset: str = option(
        "demo",
        "demo, subj, mr, a Hub id, a local folder, or a csv, tsv, jsonl, txt, xlsx or parquet file; a table of the "
        "paper by its name, see --data-dir",
    )
    task: Literal["text", "multilabel", "tabular"] = option(
        "text",
        "classify texts, each into one class (text) or with any number of labels (multilabel), or the rows of a table "
        "by all their columns (tabular)",
    )
    text_column: str = option(
        "text", "the column that holds the texts, or several, such as title body, which are joined by line breaks"
    )
    label_column: str = option("label", "the column that holds the labels")
    label_separator: str | None = option(
        None, "multilabel: what stands between the names of a text's labels, where the column holds them in one string"
    )
    label_columns: list[str] | None = option(
        None, "multilabel: columns of 0 and 1, one for each label, in place of --label-column"
    )
    columns: list[str] | None = option(None, "the columns' names, where a csv or tsv file has no line of them")
    delimiter: str | None = option(
        None, "what separates the columns of a csv or tsv file (default: what its header shows)"
    )
    quote: str | None = option(None, 'what quotes the cells of a csv or tsv file, or none (default: ")')
    encoding: str | None = option(None, "the encoding of a csv, tsv or txt file, such as latin-1 (default: UTF-8)")
    label_names: list[str] | None = option(None, "names for classes that are numbers, such as 0=bad 1=good")
    dataset_config: str | None = option(None, "the configuration of a Hub data set that has several")
    revision: str | None = option(None, "the branch, tag or commit of a Hub data set")
    dataset_split: str | None = option(None, "use only this split of the data set")
    splits: Literal["resplit", "stratified", "keep"] = option(
        "resplit",
        "join all splits and split them 70/10/20 at random, or each class so (stratified), or keep the data set's own",
    )
    rarefy: str | None = option(
        None,
        "CLASS=SHARE, such as spam=0.03: leave out texts of a class, at random, until this share of each split is left",
    )
    duplicates: Literal["auto", "together", "anywhere"] = option(
        "auto",
        "draw copies of a text into one split (together), or as if they were different (anywhere); auto is together "
        "for a local file or folder, and anywhere for demo, subj, mr and data sets on the Hub; label asks once for "
        "texts that differ by case, spaces and punctuation alone, unless this is anywhere",
    )

    def __post_init__(self) -> None:
        if isinstance(self.text_column, list | tuple):
            object.__setattr__(self, "text_column", JOIN.join(map(str, self.text_column)))
        super().__post_init__()

    @property
    def is_multilabel(self) -> bool:
        """Whether a text has any number of labels."""
        return self.task == "multilabel"

    @property
    def columns_of_labels(self) -> list[str]:
        """The columns that hold labels."""
        return self.label_columns or [self.label_column]

    @property
    def text_columns(self) -> list[str]:
        """The columns that `text_column` names, where there is no column of the whole name."""
        return [name.strip() for name in self.text_column.split(JOIN)]

    def _check(self) -> None:
        self.require(bool(self.dataset.strip()), "dataset", "a name, a path or a Hub id")
        names = self.columns
        self.require(names is None or len(set(names)) == len(names) > 0, "columns", "different names, one or more")
        name, _, share = (self.rarefy or "a=0.5").rpartition("=")
        self.require(bool(name) and _is_share(share), "rarefy", "CLASS=SHARE with a share between 0 and 1")
        tab = self.delimiter == "\\t"  # as a shell leaves it
        self.require(self.delimiter is None or len(self.delimiter) == 1 or tab, "delimiter", "one character")
        self.require(self.quote is None or len(self.quote) == 1 or self.quote == "none", "quote", "a character or none")
        if self.encoding is not None:
            try:
                codecs.lookup(self.encoding)
            except LookupError:
                self.require(False, "encoding", "one that Python knows, such as latin-1, cp1252 or utf-16")
        pairs = [name.partition("=") for name in self.label_names or []]
        fit = all(old.strip() and new.strip() for old, _, new in pairs)
        fit = fit and all(len({pair[i] for pair in pairs}) == len(pairs) for i in (0, 2))
        self.require(fit, "label_names", "NUMBER=NAME for each class, all different, such as 0=bad 1=good")
        separator = self.label_separator
        clean = separator is None or not any(separator in new for _, _, new in pairs)
        self.require(clean, "label_names", f"names without the separator {separator!r}")
        names = self.label_columns
        self.require(
            names is None or len(set(names)) == len(names) > 0, "label_columns", "different names, one or more"
        )
        self.require(self.label_separator != "", "label_separator", "one character or more, such as ';'")
        wanted = "auto or anywhere, since --splits keep moves no text"
        self.require(self.duplicates != "together" or self.splits != "keep", "duplicates", wanted)


def _is_share(text: str) -> bool:
    try:
        return 0 < float(text) < 1
    except ValueError:
        return False


@dataclass(frozen=True)
class TabularConfig(Options):
    """How the columns of a table become numbers; numeric ones are standardised, missing values imputed."""

    _argument_group_name: ClassVar[str] = "tables (--task tabular)"

    data_dir: str | None = option(None, f"the folder of the paper's tables, --dataset {', '.join(PRESETS)}")
    drop_columns: str | None = option(None, "columns to leave out, separated by commas")
    categorical_columns: str | None = option(
        None, "columns of numbers that are names (of a place, a person), separated by commas; text always is"
    )
    hashed_features: int = option(64, "features that all categorical columns of more than 50 values share, by hashing")

    @property
    def categorical(self) -> list[str]:
        """The columns that `categorical_columns` names."""
        return _names(self.categorical_columns)

    @property
    def dropped(self) -> list[str]:
        """The columns that `drop_columns` names."""
        return _names(self.drop_columns)

    def _check(self) -> None:
        self.require(self.hashed_features >= 1, "hashed_features", "at least 1")


def _names(listed: str | None) -> list[str]:
    return [name.strip() for name in (listed or "").split(",") if name.strip()]


@dataclass(frozen=True)
class TokenizationConfig(Options):
    """How texts are read, and how the word-level tokenizer of the CNN and the BiLSTM is built."""

    _argument_group_name: ClassVar[str] = "tokenization"

    lowercase: bool = option(True, "lower-case the texts")
    max_vocabulary: int = option(
        50_000, "size of the vocabulary, padding and unknown among it: the training split's most frequent words"
    )
    max_length: int = option(
        512,
        "read this many words of a text, or pieces of words for an encoder, or as many as it takes if that is less; a "
        "line counts the texts that are longer",
    )
    long_texts: Literal["truncate", "head-tail", "windows"] = option(
        "truncate",
        "what is read of longer texts: their beginning; half of it and as much of their end; or, by an encoder or "
        "decoder, all in windows of --max-length, whose log-probabilities are averaged",
    )
    min_document_frequency: int = option(
        2, "leave words of fewer training texts out of the vocabulary, which is published with the model; 1 keeps all"
    )

    def _check(self) -> None:
        self.require(self.max_vocabulary >= 3, "max_vocabulary", "at least 3 (padding, unknown, one word)")
        self.require(self.max_length >= 1, "max_length", "at least 1")
        self.require(self.min_document_frequency >= 1, "min_document_frequency", "at least 1")


@dataclass(frozen=True)
class WordVectorConfig(Options):
    """The word vectors that the CNN and the BiLSTM start from."""

    _argument_group_name: ClassVar[str] = "word vectors"

    word_vectors: str = option(
        "auto",
        "word2vec (trained on the training split's texts, by gensim), ppmi (of the same kind, by counting), random, or "
        "a file in word2vec's text or binary format (read by gensim); auto is word2vec or, of few texts, ppmi, or "
        "random where words are letters, as in Chinese; for subj and mr the default is word2vec",
    )
    word_vector_dim: int = option(100, "dimensions of word2vec, ppmi and random vectors")
    word_vector_texts: int = option(200_000, "make vectors of at most this many texts, drawn at random")

    def _check(self) -> None:
        self.require(self.word_vector_dim >= 1, "word_vector_dim", "at least 1")
        self.require(self.word_vector_texts >= 1, "word_vector_texts", "at least 1")
