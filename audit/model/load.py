"""Load a causal language model with its tokenizer, ready for inference, from a directory or from the hub.

Everything that can go wrong there becomes a ModelError with a cure. Knows nothing of samples and scores. Code that
comes with a model is never run, and no pickle is opened except through torch's weights-only reader.
"""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn

from audit.errors import ModelError
from audit.model.adapter import Adapter, apply_adapter
from audit.model.blocks import count_loaded, decoder_blocks
from audit.model.explain import LOADING_ERRORS, explained_errors, first_line, hub_cure, quiet_transformers
from audit.model.fingerprint import fingerprint_model
from audit.model.packed import choose_attention
from audit.model.partial import UnsuitableModelError, load_first_blocks
from audit.model.template import Template, choose_template
from audit.vectors import Fingerprint

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
DEFAULT_CONTEXT_TOKENS = 4096
"""For models whose configuration names no longest sequence (rotary or recurrent ones may take any)."""

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """A model that answers and is read, never trained.

    Attributes:
        module: the transformers model in evaluation mode; with an adapter, the adapted one.
        id: path or hub id as the user gave it.
        dtype: name of the type that the weights have in memory, `float32`, `bfloat16`, …
        device: where token ids go.
        fingerprint: of the base model, before the adapter.
        template: how messages become text.
        context_tokens: longest sequence that the model takes.
        stop_ids: tokens that end a response.
        attention: how sequences are scored together, `packed`, `packed-flex` or `padded`.
        n_loaded: blocks that are in memory, from the first one on; with all of them the output head is, too.
        whole_reason: why all are loaded though fewer were asked for.
    """

    module: Any
    tokenizer: Any
    id: str
    revision: str | None
    dtype: str
    device: torch.device
    fingerprint: Fingerprint
    template: Template
    context_tokens: int
    n_layers: int
    d_hidden: int
    adapter: Adapter | None
    is_quantised: bool
    stop_ids: tuple[int, ...]
    attention: str
    n_loaded: int
    whole_reason: str | None

    @property
    def template_sha256(self) -> str:
        """Hash of the chat template's text."""
        return self.template.sha256

    @property
    def blocks(self) -> nn.ModuleList:
        """The decoder blocks, in the order in which they run."""
        return decoder_blocks(self.module, self.id)

    @property
    def is_packable(self) -> bool:
        """Sequences laid end to end give the states that they give alone."""
        return self.attention != "padded"

    @property
    def is_whole(self) -> bool:
        """Every block and the output head are loaded."""
        return self.n_loaded == self.n_layers

    def refuse_partial(self) -> None:
        """Refuse what needs the model up to its output head.

        Raises:
            ModelError: only the first blocks are loaded.
        """
        if not self.is_whole:
            raise ModelError(self.id, f"only {self.n_loaded} of {self.n_layers} blocks are loaded", "load all of them")


def load_model(
    *,
    model: str,
    revision: str | None = None,
    dtype: str = "auto",
    device: str = "auto",
    device_map: str | None = None,
    adapter: str | None = None,
    n_blocks: int | None = None,
) -> LoadedModel:
    """Load a model, its tokenizer and, if named, a peft adapter.

    Args:
        model: a directory in transformers format, or a hub id; HF_TOKEN is used for gated ones.
        dtype: `auto` is bfloat16 on CUDA and float32 elsewhere.
        device: `auto` is CUDA where there is one.
        device_map: `auto` spreads the model over several devices (needs accelerate).
        adapter: a directory or hub id of a peft adapter.
        n_blocks: load only so many of the first blocks and no output head, where the model allows; None: everything.

    Raises:
        ModelError: anything that keeps the model from being loaded, with what to do about it.
    """
    _check_place(model)
    target = choose_device(device)
    if device_map is not None and importlib.util.find_spec("accelerate") is None:
        raise ModelError(f"--device-map {device_map}", "accelerate is not installed", "pip install accelerate")
    with quiet_transformers(), explained_errors(model):
        config = transformers.AutoConfig.from_pretrained(model, revision=revision, trust_remote_code=False)
        quantisation = getattr(config, "quantization_config", None)
        torch_dtype = _choose_dtype(dtype, target, is_quantised=quantisation is not None)
        tokenizer = _load_tokenizer(model, revision)
        template = choose_template(tokenizer, model)
        module, whole_reason = None, None
        n_layers = getattr(config.get_text_config(), "num_hidden_layers", None)
        if n_blocks is not None and n_layers is not None and n_blocks < n_layers:
            module, whole_reason = _load_part(model, config, revision, torch_dtype, device_map, adapter, n_blocks)
        if module is None:
            module = _load_module(model, revision, torch_dtype, device_map)
        if device_map is None and quantisation is None:
            module.to(target)
    module.eval()
    module.requires_grad_(False)
    is_quantised = quantisation is not None or bool(getattr(module, "is_quantized", False))
    # A hash of weights needs the stored ones, or ones that round to bfloat16 as they do: float16 does not.
    is_rounded = torch_dtype is torch.float16 and config.get_text_config().dtype is not torch.float16
    fingerprint = fingerprint_model(module, tokenizer, template, is_comparable=not (is_quantised or is_rounded))
    applied = None
    if adapter is not None:
        module, applied = apply_adapter(module, adapter)
    blocks = decoder_blocks(module, model)
    return LoadedModel(
        module=module,
        tokenizer=tokenizer,
        id=model,
        revision=revision,
        dtype=str(module.dtype).removeprefix("torch."),
        device=_input_device(module, target),
        fingerprint=fingerprint,
        template=template,
        context_tokens=_context_tokens(module, tokenizer),
        n_layers=fingerprint.n_layers,
        d_hidden=fingerprint.d_hidden,
        adapter=applied,
        is_quantised=is_quantised,
        stop_ids=_stop_ids(module, tokenizer, template),
        attention=choose_attention(module, blocks, _input_device(module, target), fingerprint.d_hidden),
        n_loaded=count_loaded(blocks),
        whole_reason=whole_reason,
    )


def choose_device(device: str) -> torch.device:
    """Return the device for a name; `auto` is CUDA where there is one, else the CPU.

    Raises:
        ModelError: the name is unknown, or the device is not there.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ModelError("--device", f"{device!r} is no device", "use auto, cpu, cuda or cuda:N") from error
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise ModelError(
            "--device", f"{device} is not there; {torch.cuda.device_count()} CUDA devices found", "use --device cpu"
        )
    return chosen


def _choose_dtype(dtype: str, device: torch.device, *, is_quantised: bool) -> torch.dtype | str:
    if dtype == "auto":
        if is_quantised:
            return "auto"
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    if dtype not in DTYPES:
        raise ModelError("--dtype", f"{dtype!r} is not known", f"choose one of auto, {', '.join(DTYPES)}")
    return DTYPES[dtype]


def _check_place(model: str) -> None:
    path = Path(model).expanduser()
    if path.is_dir():
        names = {file.name for file in path.iterdir()}
        if "config.json" not in names and "adapter_config.json" in names:
            raise ModelError(model, "an adapter, not a model", f"pass --model BASE --adapter {model}")
        if "config.json" not in names:
            raise ModelError(model, "no config.json in this directory", "name a directory in transformers format")
    elif path.exists():
        raise ModelError(model, "a file, not a directory", "name the directory that holds config.json and the weights")
    elif not _HUB_ID.fullmatch(model) or model.startswith(("./", "../", "~")):
        raise ModelError(model, "no such directory", "name a directory in transformers format, or a hub id")


def _load_tokenizer(model: str, revision: str | None) -> Any:
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(model, revision=revision, trust_remote_code=False)
        tokenizer("a")
    except LOADING_ERRORS as error:
        if hub_cure(error, model) is not None:
            raise
        is_absent = "instantiate the backend tokenizer" in str(error)
        finding = "no tokenizer" if is_absent else f"its tokenizer cannot be loaded: {first_line(error)}"
        raise ModelError(model, finding, "put tokenizer.json and tokenizer_config.json beside the weights") from error
    if not len(tokenizer):
        # transformers makes an empty tokenizer of the configured class where the files are missing.
        raise ModelError(model, "no tokenizer", "put tokenizer.json and tokenizer_config.json beside the weights")
    return tokenizer


def _load_part(
    model: str,
    config: Any,
    revision: str | None,
    dtype: torch.dtype | str,
    device_map: str | None,
    adapter: str | None,
    n_blocks: int,
) -> tuple[Any, str | None]:
    """Return the first blocks of a model, or None and why it has to be loaded whole."""
    if not isinstance(dtype, torch.dtype) or getattr(config, "quantization_config", None) is not None:
        return None, "it is quantised"
    if adapter is not None:
        return None, "an adapter is put on it"
    try:
        module = load_first_blocks(
            model, config, revision=revision, dtype=dtype, device_map=device_map, n_blocks=n_blocks
        )
    except UnsuitableModelError as error:
        return None, str(error)
    return module, None


def _load_module(model: str, revision: str | None, dtype: torch.dtype | str, device_map: str | None) -> Any:
    loaded: Any = transformers.AutoModelForCausalLM.from_pretrained(
        model,
        revision=revision,
        dtype=dtype,
        device_map=device_map,
        trust_remote_code=False,
        output_loading_info=True,
    )
    module, info = loaded
    missing = sorted(info["missing_keys"])
    if missing:
        # transformers would go on with random numbers in their place.
        raise ModelError(
            model,
            f"{len(missing)} weights are missing, {missing[0]} first",
            "download the checkpoint again, or name a causal language model",
        )
    return module


def _context_tokens(module: Any, tokenizer: Any) -> int:
    text_config = module.config.get_text_config()
    for name in ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "n_ctx"):
        length = getattr(text_config, name, None)
        if isinstance(length, int) and length > 0:
            return length
    length = tokenizer.model_max_length
    # Tokenizers without a limit give a huge float-like number instead of none.
    return int(length) if length < 10**8 else DEFAULT_CONTEXT_TOKENS


def _stop_ids(module: Any, tokenizer: Any, template: Template) -> tuple[int, ...]:
    """Collect what ends a response: declared ends of text, and the special token the template writes after one."""
    configured = module.generation_config.eos_token_id if module.generation_config is not None else None
    declared = configured if isinstance(configured, list | tuple) else [configured]
    closing = tokenizer(template.closing().strip(), add_special_tokens=False)["input_ids"][:1]
    end_of_turn = [token for token in closing if token in tokenizer.added_tokens_decoder]
    found = (*declared, tokenizer.eos_token_id, *end_of_turn)
    return tuple(sorted({int(token) for token in found if token is not None}))


def _input_device(module: Any, target: torch.device) -> torch.device:
    device = module.get_input_embeddings().weight.device
    return target if device.type == "meta" else device
