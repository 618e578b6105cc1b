"""What a scan is scored with, and a turn on its way through a block of records.

Values only: what fills them in is `shard`, what is written of them is `tables`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from audit.answers import AnswerSheet
from audit.baseline import BaselineFile
from audit.known import KnownTurn, KnownTurns, TurnKey
from audit.model.chat import RenderedTurn, TokenizedTurn
from audit.model.evidence import EvidenceJob
from audit.model.load import LoadedModel
from audit.samples import Turn
from audit.traits import TraitSpec
from audit.vectors import LayerRow


@dataclass(frozen=True, slots=True)
class TurnEvidence:
    """What was measured of one turn; NaN where it is not known.

    Attributes:
        score_k: evidence along each trait's vector, nats per unit of it.
        variance_k: its null variance; 0 where no step could have gone another way.
        random_r, random_null_r: by layer, evidence along random directions, of the response and of drawn tokens.
        reason: why there is no z.
    """

    score_k: NDArray[np.float32]
    variance_k: NDArray[np.float32]
    random_r: dict[int, NDArray[np.float32]]
    random_null_r: dict[int, NDArray[np.float32]]
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class PromptedEvidence:
    """Likelihood ratios between the traits' system prompts, nats per token [k]; z [k] is centred as evidence is."""

    ratio_k: NDArray[np.float32]
    z_k: NDArray[np.float32]
    gain_k: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ScoringJob:
    """What every block of a run is scored with.

    Attributes:
        units: trait → (layer, unit vector [d] float32).
        baseline: `generate`, `prompt`, `none`, or the ready responses of a file.
        reduction: [d, r] matrix that difference vectors are stored through.
        answers: the model's own answers, looked up by prompt; None where none are needed.
        known: what was read of the responses already, and the baselines that are predicted; None where all is read now.
        keep_columns: fields of the records that become text columns of `samples`.
        is_nll_for_all: measure the loss of every turn; otherwise only `probed_nll` is written.
        probed_nll: what the probe measured, nats per token.
        evidence: None where no evidence along vectors is measured.
        specs: the traits' specifications; empty where no prompted evidence is measured.
        orthogonal: trait → (layer, unit direction [d]) of what its vector has for itself; empty where that is not read.
        layer_rows: trait → the rows that its ensemble over layers is made of; empty where that is not read.
    """

    model: LoadedModel
    units: dict[str, tuple[int, NDArray[np.float32]]]
    baseline: str | BaselineFile
    max_tokens: int
    batch_tokens: int
    seed: int
    reduction: NDArray[np.float32]
    is_nll_for_all: bool
    answers: AnswerSheet | None = None
    known: KnownTurns | None = None
    keep_columns: tuple[str, ...] = ()
    probed_nll: dict[TurnKey, float] = field(default_factory=dict)
    evidence: EvidenceJob | None = None
    specs: dict[str, TraitSpec] = field(default_factory=dict)
    orthogonal: dict[str, tuple[int, NDArray[np.float32]]] = field(default_factory=dict)
    layer_rows: dict[str, tuple[LayerRow, ...]] = field(default_factory=dict)

    @property
    def directions(self) -> dict[str, tuple[int, NDArray[np.float32]]]:
        """What states are projected on: the directions that flags may come from, then those of the layers' ensembles.

        The former are the traits', then those orthogonal to the other traits' vectors: `n_flag_directions` together.
        """
        # A space stands in no trait's name.
        alone = {f"{trait} alone": direction for trait, direction in self.orthogonal.items()}
        ensemble = {
            self._name_row(trait, row): (row.layer, row.unit_d)
            for trait, rows in self.layer_rows.items()
            for row in rows
        }
        return {**self.units, **alone, **ensemble}

    @property
    def n_flag_directions(self) -> int:
        """How many of the directions, the first ones, flags may come from."""
        return len(self.units) + len(self.orthogonal)

    def ensemble_columns(self, trait: str) -> list[tuple[int, float]]:
        """Return the place of each of a trait's rows among the directions, with the length of the row."""
        names = list(self.directions)
        return [(names.index(self._name_row(trait, row)), row.length) for row in self.layer_rows.get(trait, ())]

    def _name_row(self, trait: str, row: LayerRow) -> str:
        """Return the name of a row's direction: the trait's own where that is the same, so that it is read once."""
        layer, unit_d = self.units[trait]
        return trait if layer == row.layer and np.array_equal(unit_d, row.unit_d) else f"{trait} at {row.layer}"

    @property
    def difference_layer(self) -> int:
        """The layer of the stored difference vectors: the highest that any trait is scored at."""
        return max(layer for layer, _ in self.units.values())

    @property
    def baseline_kind(self) -> str | None:
        """What `turns.baseline_kind` says of a turn that has a baseline."""
        if isinstance(self.baseline, BaselineFile):
            return "file"
        return {"generate": "generated", "prompt": "prompt", "none": None}[self.baseline]


@dataclass(slots=True)
class TurnState:
    """A turn on its way through a block: filled in step by step, written once.

    Projections [k] are along `ScoringJob.directions`, window maxima [k] along the traits' (`ScoringJob.units`) alone.
    Of several baselines `baseline_text` and `baseline` are the first that can be scored; `baseline_projection_k`,
    `baseline_window_k` and what is in `difference_r` are means over all that can, and `baseline_error_k` is the
    standard error of that mean (None for one baseline).
    """

    sample_id: int
    ordinal: int
    turn: Turn
    status: str = "ok"
    reason: str | None = None
    rendered: RenderedTurn | None = None
    tokens: TokenizedTurn | None = None
    baseline_texts: tuple[str, ...] = ()
    baseline_text: str | None = None
    baseline: Turn | None = None
    baseline_reason: str | None = None
    baseline_tokens: tuple[TokenizedTurn, ...] = ()
    baseline_draw: str | None = None
    is_predicted: bool = False
    known: KnownTurn | None = None
    response_nll: float | None = None
    projection_k: NDArray[np.float32] | None = None
    prompt_projection_k: NDArray[np.float32] | None = None
    baseline_projection_k: NDArray[np.float32] | None = None
    window_k: NDArray[np.float32] | None = None
    baseline_window_k: NDArray[np.float32] | None = None
    baseline_error_k: NDArray[np.float32] | None = None
    difference_r: NDArray[np.float32] | None = None
    evidence: TurnEvidence | None = None
    prompted: PromptedEvidence | None = None
    is_widened: bool = False

    @property
    def key(self) -> TurnKey:
        """The key of the turn in every table."""
        return (self.sample_id, self.turn.side, self.turn.turn, self.turn.part)
