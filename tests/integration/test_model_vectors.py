"""Vectors on disk against the models they were measured on.

Pairs: vectors-model.load, vectors-model.hidden.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from audit.errors import VectorError
from audit.model.hidden import project_turns
from audit.model.load import LoadedModel, load_model
from audit.model.turns import TokenizedTurn
from audit.vectors import PersonaVector, check_fit, load_vector, save_vector
from tests import models


def save_for(model: LoadedModel, path: Path) -> PersonaVector:
    rng = np.random.default_rng(0)
    vector_ld = rng.normal(size=(model.n_layers + 1, model.d_hidden)).astype(np.float32)
    save_vector(path, PersonaVector("evil", vector_ld, 2, model.id, model.fingerprint))
    return load_vector(path)


def test_a_vector_fits_its_model_in_every_dtype_and_is_refused_by_others_with_both_names(tmp_path: Path) -> None:
    llama = load_model(model=str(models.model_path("llama")))
    vector = save_for(llama, tmp_path / "evil.safetensors")
    for dtype in ("float32", "bfloat16", "float16"):
        same = load_model(model=llama.id, dtype=dtype)
        assert check_fit(vector, same.fingerprint, 3, model_id=same.id) == []

    twin = load_model(model=str(models.save_model(tmp_path / "twin", "llama", seed=5)))
    mistral = load_model(model=str(models.model_path("mistral")))
    for other, finding in ((twin, "other weights"), (mistral, "architecture LlamaForCausalLM against Mistral")):
        with pytest.raises(VectorError, match=finding) as caught:
            check_fit(vector, other.fingerprint, 3, model_id=other.id)
        assert llama.id in str(caught.value)
        assert other.id in str(caught.value)


def test_a_vector_read_from_disk_scores_at_the_layer_asked_for(tmp_path: Path) -> None:
    model = load_model(model=str(models.model_path("llama")))
    vector = save_for(model, tmp_path / "evil.safetensors")
    turn = TokenizedTurn(np.arange(5, 25, dtype=np.int32), 8, 20, 8, truncated=False)
    units = {str(layer): (layer, vector.unit(layer)) for layer in range(1, model.n_layers)}
    together = project_turns(model, [turn], units=units, batch_tokens=64).projection_nk[0]
    alone = [
        project_turns(model, [turn], units={"evil": unit}, batch_tokens=64).projection_nk[0, 0]
        for unit in units.values()
    ]
    assert together == pytest.approx(alone, abs=1e-5)
    assert len({round(float(score), 3) for score in alone}) == len(alone)
