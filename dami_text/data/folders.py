"""Texts that are not in one table: a folder of documents by class, a file of texts beside one of labels, a sheet."""

from pathlib import Path

from datasets import Dataset, DatasetDict

from dami_text.config.data_options import DataConfig
from dami_text.data.delimited import not_encoded
from dami_text.errors import DataError

TABLES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".arrow")
TEXTS, LABELS = "_text.txt", "_labels.txt"


def read_folder(folder: Path, config: DataConfig) -> DatasetDict | None:
    """The texts of a folder of text files; None where it holds tables, which the Hub's layout describes.

    Files NAME_text.txt and NAME_labels.txt have a text and its label a line, and NAME is the split. Otherwise each file
    of each sub-folder is one text, and the sub-folder's name its label.

    Raises:
        DataError: texts and labels that are not as many, or text files that are not in sub-folders.
    """
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and not _is_hidden(file, folder)]
    tables = [file for file in files if file.name.lower().removesuffix(".gz").endswith(TABLES)]
    texts = [file for file in files if file.suffix.lower() == ".txt"]
    if tables or not texts:
        return None
    pairs = {
        file: file.with_name(file.name.removesuffix(TEXTS) + LABELS) for file in texts if file.name.endswith(TEXTS)
    }
    if pairs and all(labels.is_file() for labels in pairs.values()):
        return DatasetDict({t.name.removesuffix(TEXTS): _pair(t, labels, config) for t, labels in pairs.items()})
    documents = [file for file in texts if file.parent != folder]
    if not documents:
        raise DataError(
            f"{folder} holds text files such as {texts[0].name}, which are read one by one: give a file to read a text "
            "a line, or put one document a file into a sub-folder for each class"
        )
    rows = {
        config.text_column: [_content(file, config.encoding) for file in documents],
        config.label_column: [file.parent.name for file in documents],
    }
    return DatasetDict(train=Dataset.from_dict(rows))


def _is_hidden(file: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in file.relative_to(folder).parts)


def _content(file: Path, encoding: str | None) -> str:
    try:
        return file.read_text(encoding=encoding or "utf-8-sig")
    except (UnicodeError, LookupError) as error:
        raise not_encoded(file, encoding, error) from error


def _pair(texts: Path, labels: Path, config: DataConfig) -> Dataset:
    """The rows of a file of texts and a file of labels."""
    rows, names = (_content(file, config.encoding).rstrip("\n").split("\n") for file in (texts, labels))
    if len(rows) != len(names):
        raise DataError(f"{texts} has {len(rows)} lines and {labels.name} {len(names)}; wanted a label for each text")
    clean = {config.text_column: [row.rstrip("\r") for row in rows], config.label_column: [n.strip() for n in names]}
    return Dataset.from_dict(clean)


def read_sheet(file: Path, config: DataConfig) -> DatasetDict:
    """The first sheet of an .xlsx file, every cell as text.

    Raises:
        DataError: openpyxl is not installed, or the file is no sheet with a header.
    """
    try:
        import openpyxl
    except ImportError as error:
        raise DataError(
            f'{file} needs openpyxl to be read: pip install "dami_text[xlsx]", or save it as .csv'
        ) from error
    try:
        book = openpyxl.load_workbook(file, read_only=True, data_only=True)
    except Exception as error:  # whatever its parsers raise
        raise DataError(f"{file} cannot be read as .xlsx ({error}); save it again, or as .csv") from error
    rows = [["" if cell is None else str(cell) for cell in row] for row in book.worksheets[0].values]
    book.close()
    header, *rows = [list(config.columns), *rows] if config.columns else rows or [[]]
    if not rows:
        raise DataError(f"{file} has no rows below its header; wanted texts and labels in its first sheet")
    named = [i for i, name in enumerate(header) if name.strip()]
    return DatasetDict(train=Dataset.from_dict({header[i].strip(): [row[i] for row in rows] for i in named}))
