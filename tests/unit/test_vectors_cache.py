"""The user's own vectors: where they lie, who may read them, and which of them belong to a model."""

from __future__ import annotations

import dataclasses
import stat
from pathlib import Path
from typing import Any

import platformdirs
import pytest
from platformdirs.unix import Unix

from audit.errors import ConfigError, VectorError
from audit.vectors import add_vectors, find_cached, list_cached, load_vector, save_vector
from audit.vectors import vectors_folder as place_of_vectors
from tests.unit.test_vectors import FINGERPRINT, make_vector


def write(path: Path, **changes: Any) -> str:
    save_vector(path, make_vector(**changes))
    return str(path)


def test_added_vectors_are_found_by_their_model_and_read_by_their_owner_alone(
    tmp_path: Path, vectors_folder: Path
) -> None:
    added = add_vectors([write(tmp_path / "a.safetensors"), write(tmp_path / "b.safetensors", trait="sly")])
    assert [one.state for one in added] == ["added", "added"]
    found = find_cached(FINGERPRINT)
    assert found == list_cached() == [str(one.path) for one in added]
    assert Path(found[0]) == vectors_folder / FINGERPRINT.digest / "evil.safetensors"
    assert Path(found[0]).read_bytes() == (tmp_path / "a.safetensors").read_bytes()
    for path, mode in ((Path(found[0]), 0o600), (Path(found[0]).parent, 0o700), (vectors_folder, 0o700)):
        assert stat.S_IMODE(path.stat().st_mode) == mode
    assert find_cached(dataclasses.replace(FINGERPRINT, weights_sha256="z")) == []


def test_the_same_vector_again_changes_nothing_and_another_needs_force(tmp_path: Path) -> None:
    one, other = write(tmp_path / "one.safetensors"), write(tmp_path / "other.safetensors", layer=3)
    add_vectors([one])
    assert add_vectors([one])[0].state == "unchanged"
    with pytest.raises(VectorError, match="differs from the evil vector"):
        add_vectors([other])
    assert load_vector(list_cached()[0]).layer == 2
    assert add_vectors([other], overwrite=True)[0].state == "replaced"
    assert load_vector(list_cached()[0]).layer == 3


def test_one_refused_vector_keeps_all_out(tmp_path: Path) -> None:
    good = write(tmp_path / "good.safetensors")
    unknown = write(tmp_path / "unknown.safetensors", trait="sly", fingerprint=None)
    with pytest.raises(VectorError, match="does not say which model"):
        add_vectors([good, unknown])
    with pytest.raises(VectorError, match="a second vector of the trait evil"):
        add_vectors([good, write(tmp_path / "twin.safetensors", layer=3)])
    assert list_cached() == []


def test_vectors_measured_with_another_chat_template_fit_where_there_are_no_others(tmp_path: Path) -> None:
    templates = {name: dataclasses.replace(FINGERPRINT, template_sha256=name * 64) for name in "xyz"}
    add_vectors([write(tmp_path / "x.safetensors", fingerprint=templates["x"])])
    assert find_cached(templates["y"]) == list_cached()
    add_vectors([write(tmp_path / "y.safetensors", fingerprint=templates["y"])])
    assert [Path(path).parent.name for path in find_cached(templates["y"])] == [templates["y"].digest]
    with pytest.raises(VectorError, match="several folders"):
        find_cached(templates["z"])


def test_a_place_that_cannot_be_written_names_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PERSONA_AUDIT_VECTORS", str(tmp_path / "file" / "vectors"))
    with pytest.raises(ConfigError, match="PERSONA_AUDIT_VECTORS"):
        add_vectors([write(tmp_path / "a.safetensors")])


def test_the_default_is_the_users_data_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PERSONA_AUDIT_VECTORS")
    monkeypatch.setattr(platformdirs, "PlatformDirs", Unix)
    monkeypatch.setenv("XDG_DATA_HOME", "/home/ann/data")
    assert str(place_of_vectors()) == "/home/ann/data/persona-audit/vectors"
