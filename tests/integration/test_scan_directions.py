"""Which vectors a scan finds for a model, and what it scores along where traits are made orthogonal.

Pairs: run-vectors.cache, run-vectors.orthogonal, findings-flag, cli-run.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers
from click.testing import CliRunner
from safetensors.numpy import load_file

from audit import Run, ScanConfig, scan
from audit.cli import cli
from audit.demo.world import audit_rows
from audit.errors import ConfigError, RunError, VectorError
from audit.vectors import PersonaVector, add_vectors, load_vector, save_vector, vector_files
from tests import oracle
from tests.datasets import chats, write_lines, write_vectors
from tests.models import model_path

TRAITS = ("evil", "sly", "vain")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("directions")
    write_lines(folder / "data.jsonl", chats(6))
    write_vectors(folder / "vectors", model_path("llama"), traits=TRAITS)
    return folder


def config(folder: Path, out: Path, **options: Any) -> ScanConfig:
    settings = {"baseline": "none", "vectors": (str(folder / "vectors"),), "model": str(model_path("llama"))}
    settings["evidence"] = "off"
    return ScanConfig(datasets=(str(folder / "data.jsonl"),), out=str(out), **settings | options)


def add(folder: Path) -> None:
    add_vectors(vector_files([str(folder / "vectors")]))


def scores_of(run: Run) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = run.sql("SELECT * FROM scores ORDER BY ALL").to_arrow_table().to_pylist()
    return rows


def test_a_model_finds_its_own_vectors_among_those_that_were_kept(
    folder: Path, tmp_path: Path, vectors_folder: Path
) -> None:
    add(folder)
    write_vectors(tmp_path / "vectors", model_path("mistral"), traits=("rude",))
    add(tmp_path)
    found = scan(config(folder, tmp_path / "found", vectors=()))
    assert scores_of(found) == scores_of(scan(config(folder, tmp_path / "named")))
    assert [vector["trait"] for vector in found.manifest["vectors"]] == list(TRAITS)
    assert all(vector["source"].startswith(str(vectors_folder)) for vector in found.manifest["vectors"])
    (notice,) = [notice for notice in found.manifest["notices"] if "cache" in notice]
    assert all(word in notice for word in (*TRAITS, str(vectors_folder)))
    few = scan(config(folder, tmp_path / "few", vectors=(), traits=("vain",)))
    assert [vector["trait"] for vector in few.manifest["vectors"]] == ["vain"]


def test_a_finished_scan_with_found_vectors_is_left_alone_until_they_change(folder: Path, tmp_path: Path) -> None:
    add(folder)
    mine = config(folder, tmp_path / "run", vectors=())
    scan(mine)
    assert scan(mine).n_scored == 0
    evil = load_vector(folder / "vectors" / "evil.safetensors")
    save_vector(tmp_path / "evil.safetensors", replace(evil, layer=4))
    add_vectors([str(tmp_path / "evil.safetensors")], overwrite=True)
    with pytest.raises(RunError, match="vectors evil"):
        scan(mine)


@pytest.mark.parametrize("others", [False, True])
def test_a_model_without_vectors_is_told_how_to_come_by_them(folder: Path, tmp_path: Path, others: bool) -> None:
    if others:
        write_vectors(tmp_path / "vectors", model_path("mistral"))
        add(tmp_path)
    with pytest.raises(VectorError, match="vectors add") as caught:
        scan(config(folder, tmp_path / "run", vectors=()))
    assert str(model_path("llama")) in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_the_command_says_which_vectors_it_took(folder: Path, tmp_path: Path) -> None:
    add(folder)
    words = ["scan", str(folder / "data.jsonl"), "--model", str(model_path("llama")), "--baseline", "none"]
    result = CliRunner().invoke(cli, [*words, "--out", str(tmp_path / "run"), "--json"], prog_name="persona-audit")
    assert result.exit_code == 0, result.output
    assert any("evil, sly, vain were found" in notice for notice in json.loads(result.stdout)["notices"])
    assert "evil, sly, vain were found" in " ".join(result.stderr.split())


def test_orthogonal_scores_are_projections_on_what_gram_schmidt_leaves(folder: Path, tmp_path: Path) -> None:
    run = scan(config(folder, tmp_path / "run", orthogonal=True))
    module = transformers.AutoModelForCausalLM.from_pretrained(model_path("llama")).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(model_path("llama"))
    vectors = {trait: load_file(folder / "vectors" / f"{trait}.safetensors")["vector"] for trait in TRAITS}
    kept = {vector["trait"]: vector for vector in run.manifest["vectors"]}
    rows = chats(6)
    errors, values = [], []
    for score in scores_of(run):
        layer, trait = score["layer"], score["trait"]
        basis: list[np.ndarray] = []
        for other in (*(name for name in TRAITS if name != trait), trait):
            left_d = vectors[other][layer].astype(np.float64)
            for base_d in basis:
                left_d = left_d - (left_d @ base_d) * base_d
            basis.append(left_d / np.sqrt(left_d @ left_d))
        share = np.sqrt(left_d @ left_d) / np.linalg.norm(vectors[trait][layer].astype(np.float64))
        assert kept[trait]["own_share"] == pytest.approx(share, rel=1e-6)
        messages = rows[score["sample_id"]]["messages"][: score["turn"] + 1]
        parted_ld = np.tile(basis[-1], (len(vectors[trait]), 1))
        own = oracle.score_response(module, tokenizer, messages, vector_ld=parted_ld, layer=layer)
        errors.append(abs(score["projection"] - own.projection))
        values.append(own.projection)
    assert len(errors) == len(TRAITS) * sum(len(row["messages"]) // 2 for row in rows)
    assert max(errors) <= 1e-5 * np.std(values)
    assert any("orthogonal" in notice for notice in run.manifest["notices"])


def test_a_run_is_not_continued_with_traits_made_orthogonal(folder: Path, tmp_path: Path) -> None:
    scan(config(folder, tmp_path / "run"))
    with pytest.raises(RunError, match="orthogonal"):
        scan(config(folder, tmp_path / "run", orthogonal=True))


def test_a_clean_reference_must_have_the_same_traits_made_orthogonal(folder: Path, tmp_path: Path) -> None:
    write_lines(tmp_path / "clean.jsonl", chats(110))
    references = {}
    for name, options in {
        "plain": {},
        "all": {"orthogonal": True},
        "two": {"orthogonal": True, "traits": ("evil", "sly")},
    }.items():
        references[name] = str(tmp_path / name)
        scan(replace(config(folder, tmp_path / name, **options), datasets=(str(tmp_path / "clean.jsonl"),)))
    mine = config(folder, tmp_path / "run", orthogonal=True, traits=("evil", "sly"))
    for name in ("plain", "all"):
        with pytest.raises(RunError, match="set of orthogonal traits"):
            scan(replace(mine, reference=references[name]))
    with pytest.raises(RunError, match="set of orthogonal traits"):
        scan(config(folder, tmp_path / "run", reference=references["all"]))
    assert scan(replace(mine, reference=references["two"])).manifest["reference"]["source"] == references["two"]


def test_the_bundled_reference_does_not_judge_orthogonal_scores(tmp_path: Path) -> None:
    write_lines(tmp_path / "data.jsonl", [{"messages": list(row.messages)} for row in audit_rows(30, seed=80)])
    run = scan(config(tmp_path, tmp_path / "run", model=None, vectors=(), orthogonal=True, evidence="off"))
    assert {row["verdict"] for row in run.verdicts} == {"undecided"}
    assert any("set of orthogonal traits is none" in notice for notice in run.manifest["notices"])


def test_one_trait_alone_and_dependent_traits_are_refused_before_anything_is_written(
    folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="no other trait than evil"):
        scan(config(folder, tmp_path / "run", orthogonal=True, traits=("evil",)))
    evil = load_vector(folder / "vectors" / "evil.safetensors")
    twin = PersonaVector("twin", -2 * evil.vector_ld, evil.layer, evil.model_id, evil.fingerprint)
    save_vector(tmp_path / "twin.safetensors", twin)
    places = (str(folder / "vectors"), str(tmp_path / "twin.safetensors"))
    with pytest.raises(VectorError, match=r"evil.*twin"):
        scan(config(folder, tmp_path / "run", orthogonal=True, vectors=places))
    assert not (tmp_path / "run").exists()
