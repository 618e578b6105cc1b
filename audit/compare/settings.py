"""What two runs were made with: which settings differ, and whether their scores measure the same thing.

Works on manifests alone, those of older versions included.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from audit.config import SETTINGS_BEFORE
from audit.query.relations import list_manifest_traits, score_kind
from audit.rules import PUBLISHED_RULE
from audit.schema import FIELD_ROLES

_MOST_FILES = 3
_READING = ("limit", "split", "turns", "max_tokens", *(f"{role}_key" for role in FIELD_ROLES))
"""Settings that decide which rows and tokens are scored."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A setting with the values of both runs; one that `decides` can change a score, a flag or a verdict."""

    name: str
    a: str
    b: str
    decides: bool

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def list_differences(manifest_a: Mapping[str, Any], manifest_b: Mapping[str, Any]) -> list[Difference]:
    """Return the settings that differ, in the order in which they act on a score."""
    a, b = _describe(manifest_a), _describe(manifest_b)
    found = []
    for name in dict.fromkeys((*a, *b)):
        nothing = _Setting("none", "none", True)
        one, other = a.get(name, nothing), b.get(name, nothing)
        if one.identity != other.identity:
            found.append(Difference(name, one.words, other.words, one.decides and other.decides))
    return found


def explain_incomparable(manifest_a: Mapping[str, Any], manifest_b: Mapping[str, Any], trait: str) -> list[str]:
    """Return why the scores of a trait are not comparable number by number; empty where they are."""
    a, b = _measured(manifest_a, trait), _measured(manifest_b, trait)
    return [name for name in a if a[name] != b[name]]


def inputs_identity(manifest: Mapping[str, Any]) -> list[str]:
    """Return the digests of a run's inputs, in order."""
    return [str(entry["sha256"]) for entry in manifest["inputs"]]


@dataclass(frozen=True, slots=True)
class _Setting:
    identity: Any
    words: str
    decides: bool


def _describe(manifest: Mapping[str, Any]) -> dict[str, _Setting]:
    config = SETTINGS_BEFORE | manifest["config"]
    model, reference = manifest["model"], manifest["reference"]
    fingerprint, adapter = str(model["fingerprint"]), model.get("adapter")
    settings = {
        "data": _Setting(inputs_identity(manifest), _say_inputs(manifest["inputs"]), True),
        "data path": _same([str(entry["path"]) for entry in manifest["inputs"]], decides=False),
        **{name.replace("_", " "): _same(config.get(name)) for name in _READING},
        "model": _Setting(fingerprint, f"{model['id']} (fingerprint {fingerprint})", True),
        "model name": _same([model["id"], model.get("revision")], decides=False),
        "adapter": _same(adapter["sha256"][:12] if adapter else None),
        "chat template": _same(_short(model.get("template_sha256"))),
        "number type": _same(model.get("dtype")),
        "traits": _same(sorted(list_manifest_traits(manifest))),
    }
    for vector in manifest["vectors"]:
        words = f"layer {vector['layer']}, sha256 {_short(vector['sha256'])}"
        settings[f"vector of {vector['trait']}"] = _Setting((vector["layer"], vector["sha256"]), words, True)
    return settings | {
        "orthogonal": _same(config["orthogonal"]),
        "baseline": _same(_baseline(manifest)),
        "baselines predicted": _same(bool(manifest["baseline"].get("auto"))),
        "longest baseline": _same((manifest["baseline"].get("parameters") or {}).get("max_new_tokens")),
        "baseline file": _same(_short(config.get("baseline_sha256"))),
        "evidence": _same(config["evidence"]),
        "seed": _same(config.get("seed")),
        "reference": _Setting(reference and (reference.get("sha256") or reference), _say_reference(reference), True),
        "flag rule": _same(_flag_rule(manifest)),
        "device": _same(model.get("device"), decides=False),
        "tool version": _same(manifest["tool_version"], decides=False),
    }


def _measured(manifest: Mapping[str, Any], trait: str) -> dict[str, Any]:
    """Return, by the name it has in words, what decides the scale that a trait's scores are measured on."""
    model, config = manifest["model"], SETTINGS_BEFORE | manifest["config"]
    vector = next(vector for vector in manifest["vectors"] if vector["trait"] == trait)
    return {
        "model": model["fingerprint"],
        "adapter": (model.get("adapter") or {}).get("sha256"),
        "chat template": model.get("template_sha256"),
        f"vector of {trait}": vector["sha256"],
        f"layer of {trait}": vector["layer"],
        "set of orthogonal traits": sorted(list_manifest_traits(manifest)) if config["orthogonal"] else None,
        "baseline": _baseline(manifest),
        "kind of score": score_kind(manifest),
    }


def _baseline(manifest: Mapping[str, Any]) -> str:
    baseline = manifest["baseline"]
    n_samples = (SETTINGS_BEFORE | manifest["config"])["baseline_samples"]
    drawn = f", {n_samples} sampled answers each" if n_samples else ""
    return f"{baseline['kind']}{drawn}"


def _flag_rule(manifest: Mapping[str, Any]) -> str | None:
    """Return the rule that made the flags; runs that name none have that of before there were others."""
    named = (manifest.get("flagging") or {}).get("rule")
    return str(named or PUBLISHED_RULE) if named or manifest["reference"] else None


def _say_inputs(inputs: Sequence[Mapping[str, Any]]) -> str:
    named = [
        f"{os.path.basename(str(entry['path']))} ({entry['n_records']:,} records, sha256 {_short(entry['sha256'])})"
        for entry in inputs[:_MOST_FILES]
    ]
    return ", ".join(named) + (f" and {len(inputs) - _MOST_FILES} more" if len(inputs) > _MOST_FILES else "")


def _say_reference(reference: Mapping[str, Any] | None) -> str:
    if reference is None:
        return "none"
    digest = f", sha256 {_short(reference['sha256'])}" if reference.get("sha256") else ""
    return f"{reference['source']} ({reference['n']:,} records{digest})"


def _same(value: Any, *, decides: bool = True) -> _Setting:
    """Return a setting whose words are its value."""
    if isinstance(value, list):
        words = ", ".join(str(entry) for entry in value if entry is not None)
    else:
        words = {None: "none", True: "yes", False: "no"}.get(value, str(value))
    return _Setting(value, words or "none", decides)


def _short(digest: Any) -> str | None:
    return None if digest is None else str(digest)[:12]
