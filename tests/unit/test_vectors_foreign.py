"""Files of other tools that need no torch: numpy arrays, GGUF control vectors, and what is refused of any file."""

from __future__ import annotations

import sys
from pathlib import Path

import gguf
import numpy as np
import pytest

from audit.errors import ConfigError, VectorError
from audit.vectors.control_vector import list_directions, read_control_vector, write_control_vector
from audit.vectors.foreign import ForeignTensor, check_rows, choose_rows, identify_file, read_npy

N_LAYERS, D_HIDDEN = 5, 8
ROWS_LD = np.random.default_rng(0).normal(size=(N_LAYERS + 1, D_HIDDEN)).astype(np.float32)


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def tensor(*shape: int, name: str = "v") -> ForeignTensor:
    return ForeignTensor(name, shape, "float32", np.ones(shape, np.float32))


def choose(*tensors: ForeignTensor, layer: int = 2) -> np.ndarray:
    return choose_rows("file", tensors, n_layers=N_LAYERS, d_hidden=D_HIDDEN, layer=layer)


def write_like_repeng(path: Path, directions: dict[int, np.ndarray], *, architecture: str = "controlvector") -> Path:
    """Write what repeng's ControlVector.export_gguf writes, call by call."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_string("controlvector.model_hint", "mistral")
    writer.add_uint32("controlvector.layer_count", len(directions))
    for layer, direction_d in directions.items():
        writer.add_tensor(f"direction.{layer}", direction_d)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def read(path: Path) -> np.ndarray:
    return read_control_vector(path, n_layers=N_LAYERS, d_hidden=D_HIDDEN)


def test_repengs_direction_n_is_the_output_of_its_block_n_counted_from_0(tmp_path: Path) -> None:
    # repeng's default: hidden_layers = range(-1, -num_hidden_layers, -1), which leaves block 0 out; the direction of
    # block i was measured at hidden_states[i + 1].
    hidden_states = ROWS_LD
    layers = [N_LAYERS + i for i in range(-1, -N_LAYERS, -1)]
    path = write_like_repeng(tmp_path / "v.gguf", {layer: hidden_states[layer + 1] for layer in layers})
    rows_ld = read(path)
    assert rows_ld.dtype == np.float32
    assert rows_ld[2:].tobytes() == ROWS_LD[2:].tobytes()
    assert not rows_ld[:2].any()


def test_what_is_written_is_what_repeng_reads_and_has_no_direction_0(tmp_path: Path) -> None:
    directions = list_directions(ROWS_LD)
    assert sorted(directions) == [1, 2, 3]
    write_control_vector(tmp_path / "v.gguf", directions, model_hint="llama")
    reader = gguf.GGUFReader(tmp_path / "v.gguf")
    assert reader.get_field("general.architecture").contents() == "controlvector"
    assert reader.get_field("controlvector.model_hint").contents() == "llama"
    assert reader.get_field("controlvector.layer_count").contents() == 3
    assert {found.name: found.data.tobytes() for found in reader.tensors} == {
        f"direction.{row - 1}": ROWS_LD[row].tobytes() for row in (2, 3, 4)
    }


def test_half_precision_directions_are_widened(tmp_path: Path) -> None:
    path = write_like_repeng(tmp_path / "v.gguf", {2: ROWS_LD[3].astype(np.float16)})
    assert np.array_equal(read(path)[3], ROWS_LD[3].astype(np.float16).astype(np.float32))


@pytest.mark.parametrize(
    ("directions", "architecture", "finding"),
    [
        ({5: ROWS_LD[1]}, "controlvector", "another model"),
        ({2: ROWS_LD[1, :4]}, "controlvector", "another model"),
        ({2: ROWS_LD[1].astype(np.int32)}, "controlvector", "no floating-point"),
        ({2: ROWS_LD[1]}, "llama", "no control vector"),
    ],
)
def test_a_gguf_file_that_is_no_vector_of_the_model_is_refused(
    tmp_path: Path, directions: dict[int, np.ndarray], architecture: str, finding: str
) -> None:
    with pytest.raises(VectorError, match=finding):
        read(write_like_repeng(tmp_path / "v.gguf", directions, architecture=architecture))


def test_a_gguf_file_cut_anywhere_is_refused_or_lacks_nothing_that_was_read(tmp_path: Path) -> None:
    content = write_like_repeng(tmp_path / "v.gguf", {2: ROWS_LD[3]}).read_bytes()
    for length in range(4, len(content), 7):
        (tmp_path / "cut.gguf").write_bytes(content[:length])
        with pytest.raises(VectorError):
            read(tmp_path / "cut.gguf")


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f4"])
def test_a_numpy_array_of_any_float_is_taken_over(tmp_path: Path, dtype: str) -> None:
    array = ROWS_LD.astype(dtype)
    np.save(tmp_path / "v.npy", array)
    (found,) = read_npy(tmp_path / "v.npy")
    assert found.values is not None
    assert found.values.dtype == np.float32
    assert np.array_equal(choose(found), array.astype(np.float32))


def test_a_pickle_in_a_numpy_file_is_not_run(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.array([Payload(tmp_path / "made")], dtype=object), allow_pickle=True)
    with pytest.raises(VectorError, match="not readable as a numpy array"):
        read_npy(tmp_path / "v.npy")
    assert not (tmp_path / "made").exists()


def test_a_numpy_header_that_promises_more_than_there_is_takes_no_memory(tmp_path: Path) -> None:
    with (tmp_path / "v.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (10**7, 10**6)})
    with pytest.raises(VectorError, match="not readable as a numpy array"):
        read_npy(tmp_path / "v.npy")


def test_one_row_is_put_at_its_layer_and_all_others_are_zero() -> None:
    rows_ld = choose(tensor(D_HIDDEN), layer=3)
    assert rows_ld.shape == (N_LAYERS + 1, D_HIDDEN)
    assert np.flatnonzero(rows_ld.any(axis=1)).tolist() == [3]


def test_the_one_tensor_of_the_models_shape_is_found_among_others() -> None:
    assert choose(tensor(3, 3), tensor(N_LAYERS + 1, D_HIDDEN), tensor(D_HIDDEN)).all()


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ((), "no tensor"),
        ((tensor(N_LAYERS, D_HIDDEN),), "a row is missing"),
        ((tensor(29, 1536),), r"\[29, 1536\].*do not transfer"),
        ((tensor(1, N_LAYERS + 1, D_HIDDEN),), r"\[1, 6, 8\]"),
        ((tensor(N_LAYERS + 1, D_HIDDEN, name="a"), tensor(N_LAYERS + 1, D_HIDDEN, name="b")), "'a', 'b'"),
        ((ForeignTensor("v", (N_LAYERS + 1, D_HIDDEN), "int64", None),), "int64"),
    ],
)
def test_a_file_without_one_vector_of_the_model_is_refused(tensors: tuple[ForeignTensor, ...], words: str) -> None:
    with pytest.raises(VectorError, match=words) as caught:
        choose(*tensors)
    assert caught.value.cure


def test_rows_that_cannot_score_are_named() -> None:
    broken_ld = ROWS_LD.copy()
    broken_ld[4, 1] = np.inf
    with pytest.raises(VectorError, match="row 4"):
        check_rows("file", broken_ld, 2)
    with pytest.raises(VectorError, match="no direction at layer 3: there is one at 2"):
        check_rows("file", choose(tensor(D_HIDDEN), layer=2), 3)


@pytest.mark.parametrize(
    ("name", "content", "finding"),
    [
        ("v.txt", b"abc", "suffix '.txt' is not known"),
        ("v.pt", b"GGUF\x03", "it is a gguf file"),
        ("v.gguf", b"PK\x03\x04", "it is a pt file"),
        ("v.npy", b"\x80\x02}q", "it is a pt file"),
        ("v.safetensors", b"not tensors", "begins with something else"),
        ("v.pt", b"", "begins with something else"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_refused(
    tmp_path: Path, name: str, content: bytes, finding: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(VectorError, match=finding):
        identify_file(tmp_path / name)


def test_missing_and_huge_files_are_refused_unread(tmp_path: Path) -> None:
    with pytest.raises(VectorError, match="no such file"):
        identify_file(tmp_path / "v.pt")
    with (tmp_path / "v.pt").open("wb") as file:
        file.truncate(300 << 20)
    with pytest.raises(VectorError, match="300 MiB"):
        identify_file(tmp_path / "v.pt")


def test_without_the_package_a_control_vector_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_like_repeng(tmp_path / "v.gguf", {2: ROWS_LD[3]})
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(ConfigError, match=r"persona-audit\[gguf\]"):
        read(path)
