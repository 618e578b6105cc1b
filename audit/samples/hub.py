"""Datasets of the Hugging Face hub: fetched through `datasets`, read from the Arrow files that it keeps.

Knows ids and how fetching fails. Imports `datasets` only when one is fetched, which takes seconds.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from audit.errors import DataError, MissingDataError
from audit.samples.layout import has_data_suffix
from audit.samples.saved import SPLIT_CURE, SplitFiles, choose_split
from audit.samples.text import clean_text

_ID = re.compile(r"(?P<id>[A-Za-z0-9][\w.-]*/[\w.-]+)(:(?P<config>[\w.+-]+))?", re.ASCII)
_FINDING_CHARACTERS = 300


def is_hub_id(path: str) -> bool:
    """Tell whether this may be `org/name` or `org/name:config`: nothing lies there, and it is not named as a file."""
    return _ID.fullmatch(path) is not None and not has_data_suffix(path) and not os.path.exists(path)


def fetch_hub_files(path: str, split: str | None, *, has_options: bool = True) -> SplitFiles:
    """Return the files of a split of a hub dataset, fetched unless they are in the cache.

    `has_options` tells whether errors may advise `--split`.

    Raises:
        MissingDataError: there is neither such a file nor such a dataset, or it cannot be reached.
        DataError: it cannot be used, or the split is not clear.
    """
    with _explained(path):
        import datasets

        match = _ID.fullmatch(path)
        dataset_id, config = (match["id"], match["config"]) if match else (path, None)
        splits = datasets.load_dataset(dataset_id, name=config, keep_in_memory=False)
    cure = SPLIT_CURE if has_options else "save the split with save_to_disk, and name that directory"
    name = choose_split(path, [str(name) for name in splits], split, cure)
    dataset = splits[name]
    files = tuple(entry["filename"] for entry in dataset.cache_files)
    if not files:
        raise DataError(path, "is not kept in files", "save it with save_to_disk and name the directory")
    return SplitFiles(files, name)


@contextmanager
def _explained(path: str) -> Iterator[None]:
    """Turn what `datasets` raises into one line with a cure."""
    from datasets.exceptions import DatasetNotFoundError, DatasetsError

    try:
        yield
    except DatasetNotFoundError as error:
        if "gated" in str(error) or "authenticat" in str(error):
            raise DataError(path, _shorten(error), "log in with `hf auth login`, and accept its terms") from error
        finding = "no such file, and no dataset of that id on the Hugging Face hub"
        cure = "check the path; for a private dataset, log in with `hf auth login`"
        raise MissingDataError(path, finding, cure) from error
    except ConnectionError as error:
        finding = f"no such file; as a dataset of the Hugging Face hub: {_shorten(error)}"
        cure = "check the path; for a dataset of the hub, go online, or unset HF_HUB_OFFLINE"
        raise MissingDataError(path, finding, cure) from error
    except (DatasetsError, OSError, ValueError, RuntimeError) as error:
        cure = "write ID:CONFIG" if "onfig" in str(error) else "download its files and name them"
        raise DataError(path, f"cannot be fetched from the Hugging Face hub: {_shorten(error)}", cure) from error


def _shorten(error: Exception) -> str:
    words = " ".join(clean_text(str(error)).split()) or type(error).__name__
    return words if len(words) <= _FINDING_CHARACTERS else words[: _FINDING_CHARACTERS - 1] + "…"
