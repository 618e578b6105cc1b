"""Every error pickles, prints place, finding and cure, and is caught as the stdlib error a caller expects."""

from __future__ import annotations

import inspect
import pickle

import pytest

from audit import errors

ALL = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, errors.AuditError)]


@pytest.mark.parametrize("kind", ALL)
def test_every_error_survives_pickling(kind: type[errors.AuditError]) -> None:
    error = kind("data.jsonl:3", "no 'messages' key", "name the field")
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own error, just pickled
    assert type(copy) is kind
    assert (copy.place, copy.finding, copy.cure) == ("data.jsonl:3", "no 'messages' key", "name the field")


@pytest.mark.parametrize("kind", ALL)
def test_every_error_prints_place_finding_and_cure(kind: type[errors.AuditError]) -> None:
    assert str(kind("a.jsonl:3", "is broken", "mend it")) == "a.jsonl:3: is broken (mend it)"
    assert str(kind("a.jsonl:3", "is broken")) == "a.jsonl:3: is broken"


@pytest.mark.parametrize("kind", ALL)
def test_every_error_is_one_that_the_user_can_mend(kind: type[errors.AuditError]) -> None:
    assert kind.exit_code == errors.EXIT_USER


def test_a_missing_dataset_is_a_file_not_found() -> None:
    with pytest.raises(FileNotFoundError):
        raise errors.MissingDataError("x.jsonl", "no such file", "check the path")
