"""Load the first blocks of a model and nothing above them: what projections at low layers need.

The model's class is built whole on the meta device, where it takes no memory; then its upper blocks and its output
head make room for empty places, and transformers loads what is left. The configuration stays as it is, since some
models compute with the number of layers. Of absent blocks only the rows that a fingerprint hashes are read, from the
checkpoint itself, and only where what was loaded proves that the checkpoint's names are understood.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import safe_open
from torch import Tensor
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME
from transformers.utils.hub import cached_file, get_checkpoint_shard_files
from transformers.utils.peft_utils import find_adapter_config_file

from audit.model.blocks import AbsentPart, decoder_blocks, first_row
from audit.model.explain import LOADING_ERRORS, first_line

Shapes = dict[str, tuple[int, ...]]
"""Parameter name inside its block to shape."""


class UnsuitableModelError(Exception):
    """This model has to be loaded whole; the text says why, and the caller does so."""


def load_first_blocks(
    model: str, config: Any, *, revision: str | None, dtype: torch.dtype, device_map: str | None, n_blocks: int
) -> Any:
    """Load blocks 1 to `n_blocks` with the embedding; the other blocks and the head become an `AbsentPart`.

    An output head that shares its weights with the embedding stays.

    Raises:
        UnsuitableModelError: load the whole model instead.
        torch.OutOfMemoryError: not even these blocks fit.
    """
    # Neither the mapping nor what it gives carries annotations.
    mapping: Any = transformers.MODEL_FOR_CAUSAL_LM_MAPPING
    model_class: Any = mapping.get(type(config), None)
    if not hasattr(model_class, "config_class") or getattr(config, "auto_map", None):
        raise UnsuitableModelError("its class is chosen while it is loaded")
    if not isinstance(config, model_class.config_class):
        config = config.get_text_config()
    try:
        if find_adapter_config_file(model, revision=revision) is not None:
            raise UnsuitableModelError("an adapter lies beside its weights")
        with _opened_checkpoint(model, revision) as checkpoint:
            cut_class = _derive_class(model_class, n_blocks, checkpoint)
            module, info = cut_class.from_pretrained(
                model,
                config=config,
                revision=revision,
                dtype=dtype,
                device_map=device_map,
                trust_remote_code=False,
                output_loading_info=True,
            )
            if info["missing_keys"]:
                raise UnsuitableModelError("weights are missing")
            _read_absent_rows(module, checkpoint, n_blocks)
    except torch.OutOfMemoryError:
        raise
    except (*LOADING_ERRORS, IndexError) as error:
        raise UnsuitableModelError(first_line(error)) from None
    # From here on nothing depends on the class that cut it.
    module.__class__ = model_class
    return module


class _Checkpoint:
    """The tensors of safetensors files by name, none of them read yet."""

    def __init__(self, files: Sequence[Any]) -> None:
        self._file_of = {key: file for file in files for key in file.keys()}  # noqa: SIM118 - no mapping

    def find_prefixes(self, shapes: Mapping[int, Shapes]) -> list[str]:
        """Return what may stand before `<block>.<parameter>` in the file's names, so that all of them are there."""
        index, names = next(iter(shapes.items()))
        tail = f"{index}.{next(iter(names))}"
        heads = [key.removesuffix(tail) for key in self._file_of if key == tail or key.endswith(f".{tail}")]
        return [
            head
            for head in heads
            if all(
                self._shape(f"{head}{block}.{name}") == shape
                for block, names in shapes.items()
                for name, shape in names.items()
            )
        ]

    def read_row(self, key: str) -> Tensor:
        """Read a vector, or the first row of what has more dimensions."""
        part = self._file_of[key].get_slice(key)
        n_dimensions = len(part.get_shape())
        row: Tensor = part[:] if n_dimensions == 1 else part[:1]
        return row if n_dimensions == 1 else row.flatten(0, -2)[0]

    def _shape(self, key: str) -> tuple[int, ...] | None:
        return tuple(self._file_of[key].get_slice(key).get_shape()) if key in self._file_of else None


@contextlib.contextmanager
def _opened_checkpoint(model: str, revision: str | None) -> Iterator[_Checkpoint]:
    with contextlib.ExitStack() as stack:
        paths = _find_files(model, revision)
        yield _Checkpoint([stack.enter_context(safe_open(path, framework="pt")) for path in paths])


def _find_files(model: str, revision: str | None) -> list[str]:
    options: dict[str, Any] = {"revision": revision, "_raise_exceptions_for_missing_entries": False}
    # In the order in which transformers looks for them.
    single = cached_file(model, SAFE_WEIGHTS_NAME, **options)
    if single is not None:
        return [str(Path(single))]
    index = cached_file(model, SAFE_WEIGHTS_INDEX_NAME, **options)
    if index is None:
        raise UnsuitableModelError("its weights are in no safetensors file")
    find_shards: Any = get_checkpoint_shard_files
    return list(find_shards(model, index, revision=revision)[0])


def _derive_class(model_class: Any, n_blocks: int, checkpoint: _Checkpoint) -> Any:
    """Return a class that is `model_class` in all but what lies above block `n_blocks`."""

    def init(self: Any, config: Any, *arguments: Any, **options: Any) -> None:
        model_class.__init__(self, config, *arguments, **options)
        blocks = decoder_blocks(self)
        shapes: dict[int, Shapes] = {
            index: {name: tuple(value.shape) for name, value in block.named_parameters()}
            for index, block in enumerate(blocks)
        }
        # Before anything is read: a model that has to be loaded whole should not be loaded twice.
        self.block_prefixes = checkpoint.find_prefixes(shapes)
        if not self.block_prefixes:
            raise UnsuitableModelError("its checkpoint keeps blocks under other names or in other shapes")
        self.absent_names = {index: sorted(shapes[index]) for index in range(n_blocks, len(blocks))}
        for index in range(n_blocks, len(blocks)):
            blocks[index] = AbsentPart()
        if not self.all_tied_weights_keys and self.get_output_embeddings() is not None:
            self.set_output_embeddings(AbsentPart())
            if not isinstance(self.get_output_embeddings(), AbsentPart):
                raise UnsuitableModelError("its output head cannot be taken off")

    return type(model_class.__name__, (model_class,), {"__init__": init, "__module__": model_class.__module__})


def _read_absent_rows(module: Any, checkpoint: _Checkpoint, n_blocks: int) -> None:
    """Read the rows of absent blocks under the names that give, for every loaded block, what was loaded."""
    blocks = decoder_blocks(module)
    loaded = {
        f"{index}.{name}": first_row(value).detach()
        for index in range(n_blocks)
        for name, value in blocks[index].named_parameters()
    }
    matching = [
        prefix
        for prefix in module.block_prefixes
        if all(torch.equal(checkpoint.read_row(prefix + name).to(row.dtype), row.cpu()) for name, row in loaded.items())
    ]
    if len(matching) != 1:
        raise UnsuitableModelError("its checkpoint keeps blocks in another form")
    dtypes = {name.partition(".")[2]: row.dtype for name, row in loaded.items()}
    for index, names in module.absent_names.items():
        if not names or set(names) - set(dtypes):
            raise UnsuitableModelError("its upper blocks are of another kind than its lower ones")
        blocks[index].rows = [checkpoint.read_row(f"{matching[0]}{index}.{name}").to(dtypes[name]) for name in names]
    del module.absent_names, module.block_prefixes
