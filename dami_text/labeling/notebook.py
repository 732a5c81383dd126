"""Labelling in a notebook: the page in a cell, and the session in Python while somebody labels."""

import html
import secrets
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import fields, replace
from getpass import getpass
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from datasets import Dataset

from dami_text.config.page_options import PageConfig
from dami_text.data.hub import progress_bars_hidden
from dami_text.errors import ConfigError, RecordError, arguments_named
from dami_text.labeling.exchange.exporting import export_labels
from dami_text.labeling.final import train_final
from dami_text.labeling.opening import SESSION_OPTIONS, open_session, read_guidelines, session_folder
from dami_text.labeling.page.accounts import ask_for_passwords, read_passwords, set_passwords
from dami_text.labeling.page.server import ServedPage
from dami_text.labeling.session import Session
from dami_text.labeling.status import final_text, final_warnings, session_status
from dami_text.learning.inputs import class_names_given, dataset_of, is_frame

if TYPE_CHECKING:
    import pandas as pd

HEIGHT = 720  # pixels of the page in a cell
FINAL = "final"  # the folder of the final model inside the session's

#: The sessions whose pages this process serves, by folder: a cell that is run again takes the place of the page before.
_OPEN: dict[Path, "LabelingSession"] = {}


class Lines(str):
    """A text that a notebook shows in its lines, without quotation marks."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


class LabelingSession:
    """A session of labelling and its page. `label` makes one.

    Every property and method may be used while somebody labels.

    Examples:
        >>> import dami_text
        >>> texts = ["a good film", "a bad film", "good music", "bad music"]
        >>> session = dami_text.label(texts, ["neg", "pos"])  # doctest: +SKIP
        >>> session.labels["label"].tolist()  # doctest: +SKIP
        ['pos', 'neg']
        >>> session.export("labels.csv")  # doctest: +SKIP
        2

    Attributes:
        folder: the session's folder, which `dami-text label FOLDER` opens, too.
        address: where the page is. Without annotators it has a secret in it: whoever knows it can label.
    """

    def __init__(self, session: Session, page: PageConfig, guidelines: str | None) -> None:
        # Browsers keep the cookies of a login out of frames: only a page without one is shown in a cell.
        self._secret = None if page.annotators else secrets.token_urlsafe(16)
        self._session, self.folder = session, session.folder
        self._page = ServedPage(session, page, guidelines, secret=self._secret)
        self.address = self._page.address
        self._closed = threading.Event()
        self._tending = threading.Thread(target=self._tend, daemon=True)
        self._tending.start()

    def _tend(self) -> None:
        while not self._closed.is_set():
            self._page.tend(self._closed.wait)

    def _open(self) -> Session:
        if self._closed.is_set():
            raise RecordError(f"the session {self.folder} is closed; label({str(self.folder)!r}) opens it again")
        self._session.refresh()
        return self._session

    @property
    def labels(self) -> "pd.DataFrame":
        """What is labelled: row, text, label, annotator, time, and the number of models that there were before.

        A label is a name or, with `task="multilabel"`, a list of names.
        """
        import pandas as pd

        session = self._open()
        found = session.store.labels()
        texts = session.texts.select([label["row"] for label in found])["text"] if found else []
        lines = [
            (label["row"], text, session.named(label["label"]), label["annotator"], label["time"], label["round"])
            for label, text in zip(found, texts, strict=True)
        ]
        return pd.DataFrame(lines, columns=["row", "text", "label", "annotator", "time", "round"])

    def status(self) -> Lines:
        """How far the session is, as `dami-text status` tells it."""
        return Lines(session_status(self._open()))

    def train(self, output_dir: Path | str | None = None) -> Lines:
        """Train the final model on all labels but the held-out ones, and write it with its card.

        Args:
            output_dir: its folder. The default is `final` in the session's folder, where a newer model takes the place
                of the one before.

        Raises:
            TrainingError: there is no label to train on.
            RecordError: the folder holds something else, or cannot be written.
        """
        session = self._open()
        folder = self.folder / FINAL if output_dir is None else Path(output_dir)
        with arguments_named(), progress_bars_hidden():
            final = train_final(session, folder, overwrite=output_dir is None)
        warnings = [f"WARNING: {told}" for told in final_warnings(session, final)]
        return Lines("\n".join([final_text(final), *warnings, f"model    {folder}"]))

    def export(
        self,
        file: Path | str,
        format: str = "csv",  # noqa: A002 - as the command calls it
        *,
        all: bool = False,  # noqa: A002 - likewise
        safe_csv: bool = False,
        label_separator: str | None = None,
        label_columns: bool = False,
    ) -> int:
        """Write the labels for another tool; the number of texts (or events) that were written.

        Args:
            file: where they go.
            format: one of those of `dami-text export`.
            all: write texts without labels, too.
            safe_csv: keep spreadsheets from calculating cells.
            label_separator: write several labels a text with this between them; None as a list.
            label_columns: write them as a column of 0 and 1 for each label.

        Raises:
            ConfigError: there is no such format, or it has no such form.
            DataError: the file cannot be written, or the format cannot hold the labels.
        """
        with arguments_named():
            return export_labels(
                self._open(),
                Path(file),
                format,
                whole=all,
                safe_csv=safe_csv,
                separator=label_separator,
                columns=label_columns,
            )[0]

    def show(self) -> None:
        """Show the page in the cell that is run; the link to it where people log in; its address outside a notebook."""
        self._open()
        if not _in_notebook():
            print(f"page     {self.address}")
            return
        if "google.colab" in sys.modules and self._secret is not None:
            output = import_module("google.colab.output")  # its proxy has addresses of its own
            output.serve_kernel_port_as_iframe(self._page.port, path=f"/{self._secret}/", height=str(HEIGHT))
            return
        from IPython import display

        address = html.escape(self.address)
        link = f'<a href="{address}" target="_blank" rel="noopener">Open the page in a tab</a>'
        frame = f'<iframe src="{address}" width="100%" height="{HEIGHT}" style="border: 0"></iframe>'
        shown: Any = display
        shown.display(shown.HTML(f"<p>{link}</p>{'' if self._secret is None else frame}"))

    def close(self) -> None:
        """Serve the page no longer. Every label is on disk, and a training that has begun comes to its end."""
        if not self._closed.is_set():
            self._closed.set()
            _OPEN.pop(self.folder, None)
            self._page.close()
            self._tending.join()
            self._session.close()

    def __repr__(self) -> str:
        if self._closed.is_set():
            return f"LabelingSession({str(self.folder)!r}, closed)"
        n_labeled = len(self._session.store.labels())
        return f"LabelingSession({str(self.folder)!r}, {n_labeled} of {len(self._session)} texts labelled)"


def label(texts: Any, class_names: Sequence[str] | None = None, **options: Any) -> LabelingSession:
    """Make a session of texts, or go on with it, and show its page in the cell; Python stays free meanwhile.

    The session is a folder, the same as `dami-text label` makes, and the same call goes on where an earlier one was
    stopped. Models are trained in a process of their own, which ends with this one. A session whose page this process
    serves already has its page anew.

    Examples:
        The page needs the extra `ui`, so these lines are not run where the package is tested without it.

        >>> import dami_text
        >>> session = dami_text.label("reviews.csv", ["neg", "pos"])  # doctest: +SKIP
        >>> session.status()  # doctest: +SKIP
        labelled   0 of 80 texts; 0 skipped, 0 flagged
        ...

    Args:
        texts: a file, a folder, a Hub id, "demo" or a session's folder; or (N,) strings in a list, an array or a
            series; or a data frame or Dataset with a column "text", or one that `text_column` names. Labels in its
            column "label", or one that `label_column` names, count from the start.
        class_names: the classes (C), in the order of their keys; None where labels or the session name them.
        **options: any option of `dami-text label` by its name with underscores, such as `guidelines="guide.md"`,
            `task="multilabel"` or `session="reviews.dami"`. Texts that come from no file have the session
            `texts-HASH.dami` in the current folder by default. `browser=True` opens a tab, too.

    Raises:
        ConfigError: an option that is unknown or cannot work, or differs from those that the session was made with; or
            gradio is not installed.
        DataError: the texts cannot be read, or labels are of no class.
        RecordError: the session is damaged, or cannot be written.
    """
    with arguments_named(), progress_bars_hidden(), ExitStack() as stack:
        page, given = _parted(options)
        if class_names is not None:
            given["labels"] = class_names_given(class_names)
        guidelines = read_guidelines(page.guidelines)
        annotators = page.annotators or []
        passwords = read_passwords(page.passwords, annotators) if page.passwords else None
        if isinstance(texts, str | Path):
            file, folder = str(texts), session_folder(str(texts))
        else:
            file = _written(texts, stack.enter_context(TemporaryDirectory(prefix="dami-text-")))
            folder = Path(Path(file).stem + ".dami")
        folder = Path(page.session or folder).absolute()  # wherever Python goes meanwhile
        session = open_session(file, given, replace(page, session=str(folder)))
        try:
            if folder in _OPEN:
                _OPEN[folder].close()
            if passwords is None:
                passwords = ask_for_passwords(session.store, annotators, getpass)
            set_passwords(session.store, passwords)
            opened = _OPEN[folder] = LabelingSession(session, page, guidelines)
        except BaseException:
            session.close()
            raise
    opened.show()
    return opened


def _parted(options: Mapping[str, Any]) -> tuple[PageConfig, dict[str, Any]]:
    """The options of the page, and those of the session."""
    of_page = {f.name for f in fields(PageConfig)}
    if "labels" in options:
        raise ConfigError("labels is called class_names here; labels that texts have already are a column of them")
    if unknown := sorted(options.keys() - of_page - SESSION_OPTIONS):
        raise ConfigError(f"unknown options {unknown}; they are those of dami-text label, with underscores")
    page = PageConfig(**{"browser": False} | {name: value for name, value in options.items() if name in of_page})
    replace(page, public_url=None).require_login()  # without a login, the public address has a secret in it
    return page, {name: value for name, value in options.items() if name in SESSION_OPTIONS}


def _written(texts: Any, folder: str) -> str:
    """The file in `folder` that holds texts which came from none, called after its content: a session copies it."""
    if is_frame(texts):
        table = Dataset.from_pandas(texts, preserve_index=False)
    else:
        table = texts if isinstance(texts, Dataset) else dataset_of(texts, ["text"])
    content = sha256(repr(table.to_dict()).encode("utf-8", "surrogatepass")).hexdigest()
    file = Path(folder, f"texts-{content[:12]}.parquet")
    table.to_parquet(str(file))
    return str(file)


def _in_notebook() -> bool:
    """Whether a kernel runs this, and so a page can be shown; in a terminal of IPython it cannot."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return hasattr(shell, "kernel")
