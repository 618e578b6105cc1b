"""Evidence: how much likelier a response gets the more of a direction is added to the residual stream.

With u_t the derivative of the logits at step t and p_t the model's own distribution there, S = Σ_t (u_t[y_t] − E_p u_t)
is the slope of log p(y | x) where α·v is added at layer l at every position, and W = Σ_t Var_p(u_t) its variance if the
model itself had written y: Rao's score test of α = 0. The sum runs over response tokens and the token that ends the
turn.

Runs on top of the truncated pass that projections are read from: its states at the lowest layer are where the upper
blocks go on. S of all directions comes from one backward pass; W of a direction takes tangents, or, unbiased and for
all directions at once, a second backward pass with tokens that are drawn from p_t.

Source: evidence as Rao's score (1948); the gradient along a persona vector as in arXiv 2604.16423.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from audit.model.batches import choose_pad_id, is_out_of_memory, pad_right
from audit.model.derivatives import Upper, Way, find_way, push_forward, smooth_attention
from audit.model.load import LoadedModel
from audit.model.logits import LogitSteps
from audit.model.memory import GRAPH_BYTES, estimate_graph_bytes
from audit.model.packed import packed_attention, smooth_pack
from audit.model.packing import Group, count_tokens, pack_groups
from audit.model.precision import default_matmul
from audit.model.tail import opened_tail, places_at_once
from audit.model.turns import TokenizedTurn

_Floats = npt.NDArray[np.float64]
_Array = npt.NDArray[np.float32]

_THREADED_WIDTH = 512
"""Narrower models are measured on one thread: the demo model was seen to take twice as long on two."""

_ZERO_VARIANCE = 1e-12
"""Share of the mean square below which a variance is rounding: every step of the response was certain."""


@dataclass(frozen=True, slots=True)
class EvidenceJob:
    """Along which directions evidence is measured, and how far.

    Attributes:
        level: `score` or `full`.
        vectors: trait → (layer, vector as stored [d] float32).
        random: layer → random unit directions [r, d] float32, the same for every scan of a model.
    """

    level: str
    vectors: Mapping[str, tuple[int, _Array]]
    random: Mapping[int, _Array]

    @property
    def layers(self) -> list[int]:
        """The layers that directions stand at, lowest first."""
        return sorted({layer for layer, _ in self.vectors.values()} | set(self.random))


@dataclass(slots=True, eq=False)
class Evidence:
    """What was measured of n turns; NaN where it was not, or is not finite.

    Attributes:
        score_nk: S along each vector, nats per unit of it.
        variance_nk: W, exactly under `full`, one unbiased draw of it under `score`; 0 where no step of the response
            could have gone another way.
        nll_n: mean loss over the response tokens, nats.
        surprise_n: Σ (−log p(y_t) − H_t), nats over all steps; 0 on average if the model wrote y.
        surprise_variance_n: its variance in that case.
        random_nr, random_null_nr: by layer, S along random directions, of the response and of drawn tokens.
    """

    score_nk: _Floats
    variance_nk: _Floats
    nll_n: _Floats
    surprise_n: _Floats
    surprise_variance_n: _Floats
    random_nr: dict[int, _Floats] = field(default_factory=dict)
    random_null_nr: dict[int, _Floats] = field(default_factory=dict)


@dataclass(slots=True)
class _Steps:
    """The steps (p) of a pack that are scored: where the token before each lies, and the token itself."""

    turns: list[int]
    rows_p: npt.NDArray[np.int64]
    tokens_p: npt.NDArray[np.int64]
    is_response_p: npt.NDArray[np.bool_]
    draws_p: _Floats
    turn_p: npt.NDArray[np.int64]


class EvidenceMeter:
    """Measures turns as their states come, pack by pack.

    Args:
        tokenized: all turns of the pass, by position.
        wanted: positions that are measured.
        seeds: by position, what the tokens of the null are drawn with.
        groups: by position, its sample; turns of a sample share what they begin with.
    """

    def __init__(
        self,
        model: LoadedModel,
        tokenized: Sequence[TokenizedTurn],
        job: EvidenceJob,
        *,
        wanted: Sequence[int],
        seeds: Mapping[int, int],
        groups: Sequence[int],
    ) -> None:
        self._model, self._tokenized, self._job = model, tokenized, job
        self._wanted, self._seeds, self._groups = frozenset(wanted), seeds, groups
        self.layer = job.layers[0]
        self._way = find_way(model, self.layer)
        self._left: set[int] = set()
        self._vectors_kd = np.stack([vector_d for _, vector_d in job.vectors.values()])
        self._columns = {
            layer: [k for k, (own_layer, _) in enumerate(job.vectors.values()) if own_layer == layer]
            for layer in job.layers
        }
        n, k = len(tokenized), len(job.vectors)

        def nothing(*shape: int) -> _Floats:
            return np.full(shape, np.nan)

        self.evidence = Evidence(nothing(n, k), nothing(n, k), nothing(n), nothing(n), nothing(n))
        for layer, random_rd in job.random.items():
            self.evidence.random_nr[layer] = nothing(n, len(random_rd))
            self.evidence.random_null_nr[layer] = nothing(n, len(random_rd))

    def wants(self, position: int) -> bool:
        """Tell whether a turn is measured."""
        return position in self._wanted

    def is_finite(self, positions: Sequence[int]) -> bool:
        """Tell whether the slopes of those that are measured and have a step are finite."""
        wanted = self._wanted - self._left
        rows = [n for n in positions if n in wanted and _count_steps(self._tokenized[n])]
        return bool(np.isfinite(self.evidence.score_nk[rows]).all() and np.isfinite(self.evidence.nll_n[rows]).all())

    def measure(self, states: Mapping[int, Tensor]) -> None:
        """Measure turns from their states [t, d] at `layer`, given by position."""
        members: dict[int, list[int]] = {}
        for position in states:
            if _count_steps(self._tokenized[position]):
                members.setdefault(self._groups[position], []).append(position)
        # Samples of as many turns stand together: one backward pass serves one turn of each.
        groups = [Group(tuple(own), tuple(own)) for own in sorted(members.values(), key=len)]
        # Packs come in every length, and oneDNN would keep code for each: a gigabyte in a thousand rows.
        with smooth_attention(), default_matmul(self._model.device), _few_threads(self._model):
            for pack in self._cut(groups):
                self._measure_or_leave(pack, states)

    def _measure_or_leave(self, groups: Sequence[Group], states: Mapping[int, Tensor]) -> None:
        """Measure a pack, in ever smaller pieces where memory runs out; what cannot be measured costs no projection."""
        try:
            self._measure_pack(groups, states, self._way)
            return
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        # Outside the handler: the exception's frames hold the tensors that have to go.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        pieces = [piece for group in groups for piece in group.split()]
        if len(pieces) > 1:
            for piece in pieces:
                self._measure_or_leave([piece], states)
            return
        try:
            # Differences keep nothing for a way back.
            self._measure_pack(groups, states, Way(self._way.resumes, has_tangents=False, has_gradients=False))
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            self._left |= set(groups[0].wanted)

    def _cut(self, groups: Sequence[Group]) -> list[list[Group]]:
        """Put groups into packs whose backward pass fits; one that does not fit alone has a pack of its own."""
        sequences = [turn.ids for turn in self._tokenized]
        packs: list[list[Group]] = []
        n_tokens = n_rows = n_longest = 0
        for group in groups:
            size, longest = count_tokens(sequences, group), max(len(sequences[n]) for n in group.wanted)
            n_longest = max(n_longest, longest)
            n_tokens, n_rows = n_tokens + size, n_rows + len(group.wanted)
            # As many backward passes are made as a sample of the pack has turns.
            is_alike = bool(packs) and len(group.wanted) == len(packs[-1][0].wanted)
            fits = self._fits(n_tokens if self._model.is_packable else n_rows * n_longest, n_longest)
            if not is_alike or not fits:
                packs.append([])
                n_tokens, n_rows, n_longest = size, len(group.wanted), longest
            packs[-1].append(group)
        return packs

    def _fits(self, n_tokens: int, n_longest: int) -> bool:
        """Tell whether the values of a backward pass over so many tokens, of sequences so long, may be kept."""
        n_upper = self._model.n_layers - self.layer
        return estimate_graph_bytes(self._model, n_upper, n_tokens, n_longest) <= GRAPH_BYTES

    def _measure_pack(self, groups: Sequence[Group], states: Mapping[int, Tensor], way: Way) -> None:
        if self._model.is_packable:
            sequences = [turn.ids for turn in self._tokenized]
            pack = pack_groups(sequences, groups)
            start_ntd = _gather_packed(states, pack.places, len(pack.ids))
            inputs = {
                "input_ids": torch.from_numpy(pack.ids)[None].to(self._model.device),
                "position_ids": torch.from_numpy(pack.positions)[None].to(self._model.device),
            }
            with packed_attention(self._model.module), smooth_pack(pack):
                self._derive(groups, start_ntd, inputs, pack.places, way)
            return
        positions = [position for group in groups for position in group.wanted]
        rows = [self._tokenized[position].ids for position in positions]
        ids_nt, mask_nt = pad_right(rows, choose_pad_id(self._model.tokenizer), self._model.device)
        width = ids_nt.shape[1]
        places = {n: np.arange(row * width, row * width + len(rows[row])) for row, n in enumerate(positions)}
        start_ntd = _gather_packed(states, places, len(rows) * width).view(len(rows), width, -1)
        self._derive(groups, start_ntd, {"input_ids": ids_nt, "attention_mask": mask_nt}, places, way)

    def _derive(
        self,
        groups: Sequence[Group],
        start_ntd: Tensor,
        inputs: Mapping[str, Tensor],
        places: Mapping[int, npt.NDArray[np.int64]],
        way: Way,
    ) -> None:
        # Weights that are widened for the moment must be gone before a derivative would want them again.
        if start_ntd.dtype is not self._model.module.dtype:
            way = Way(way.resumes, has_tangents=False, has_gradients=False)
        steps = self._list_steps(groups, places)
        n_tokens = start_ntd.shape[0] * start_ntd.shape[1]
        saves_memory = not self._fits(n_tokens, max(len(places_t) for places_t in places.values()))
        upper = Upper(self._model, self.layer, start_ntd, inputs, resumes=way.resumes, saves_memory=saves_memory)
        calm = Upper(self._model, self.layer, start_ntd, inputs, resumes=way.resumes)
        needs_tangents = self._job.level == "full" or not way.has_gradients
        moved_kpd = None
        if needs_tangents:
            vectors_kd = torch.from_numpy(self._vectors_kd).to(start_ntd)

            def final_of(strength_k: Tensor) -> Tensor:
                additions = {
                    layer: (strength_k[columns, None] * vectors_kd[columns]).sum(dim=0)[None, None]
                    for layer, columns in self._columns.items()
                    if columns
                }
                return _pick(calm(additions), steps, self._model.device)

            moved_kpd = push_forward(way, final_of, vectors_kd, start_ntd)
        leaves: dict[int, Tensor] = {}
        if way.has_gradients:
            leaves = {layer: torch.zeros_like(start_ntd, requires_grad=True) for layer in self._job.layers}
            with torch.enable_grad():
                final_pd = _pick(upper(leaves), steps, self._model.device)
        else:
            with torch.no_grad():
                final_pd = _pick(calm({}), steps, self._model.device)
        pulled, drawn = self._read_logits(steps, final_pd.detach(), moved_kpd, way)
        if way.has_gradients:
            for is_response, cotangent_pd in ((True, pulled), (False, drawn)):
                self._pull_back(groups, steps, places, final_pd, cotangent_pd, leaves, is_response=is_response)

    def _list_steps(self, groups: Sequence[Group], places: Mapping[int, npt.NDArray[np.int64]]) -> _Steps:
        turns, rows, tokens, is_response, draws = [], [], [], [], []
        for group in groups:
            for position in group.wanted:
                turn = self._tokenized[position]
                first = max(turn.start, 1)
                # The state at t - 1 predicts the token at t.
                own_tokens = [*turn.ids[first : turn.stop].tolist(), *([] if turn.end_id is None else [turn.end_id])]
                turns.append(position)
                rows.append(places[position][first - 1 : first - 1 + len(own_tokens)])
                tokens.append(own_tokens)
                is_response.append(np.arange(len(own_tokens)) < turn.stop - first)
                draws.append(np.random.default_rng(self._seeds[position]).random(len(own_tokens)))
        return _Steps(
            turns,
            np.concatenate(rows),
            np.concatenate([np.asarray(own, dtype=np.int64) for own in tokens]),
            np.concatenate(is_response),
            np.concatenate(draws),
            np.repeat(np.arange(len(turns)), [len(own) for own in tokens]),
        )

    def _read_logits(
        self, steps: _Steps, final_pd: Tensor, moved_kpd: Tensor | None, way: Way
    ) -> tuple[Tensor, Tensor]:
        """Fill in what the logits say; return the gradient of log p by final state, of the response and of draws."""
        n_steps, k = len(steps.rows_p), len(self._vectors_kd)
        pulled_pd, drawn_pd = torch.zeros_like(final_pd), torch.zeros_like(final_pd)
        loss_p, surprise_p, surprise_variance_p = np.zeros(n_steps), np.zeros(n_steps), np.zeros(n_steps)
        score_pk, variance_pk, square_pk = (np.zeros((n_steps, k)) for _ in range(3))
        at_once = places_at_once(self._model.fingerprint.n_vocab)
        with opened_tail(self._model) as tail:
            for begin in range(0, n_steps, at_once):
                part = slice(begin, min(begin + at_once, n_steps))
                tokens_c = torch.from_numpy(steps.tokens_p[part]).to(final_pd.device)
                logits = LogitSteps(tail, way, final_pd[part])
                loss_p[part] = -_to_numpy(logits.log_likelihood(tokens_c))
                entropy_c, spread_c = logits.entropy()
                surprise_p[part] = loss_p[part] - _to_numpy(entropy_c)
                surprise_variance_p[part] = _to_numpy(spread_c)
                for place in range(k if moved_kpd is not None else 0):
                    assert moved_kpd is not None
                    own_c, variance_c, square_c = logits.weigh(logits.push(moved_kpd[place, part]), tokens_c)
                    score_pk[part, place] = _to_numpy(own_c)
                    variance_pk[part, place] = _to_numpy(variance_c)
                    square_pk[part, place] = _to_numpy(square_c)
                if way.has_gradients:
                    drawn_c = logits.draw(torch.from_numpy(steps.draws_p[part]).to(final_pd.device))
                    pulled_pd[part], drawn_pd[part] = logits.pull(tokens_c, drawn_c)
        found = self.evidence
        for place, position in enumerate(steps.turns):
            own_p = steps.turn_p == place
            response_p = own_p & steps.is_response_p
            found.nll_n[position] = loss_p[response_p].mean() if response_p.any() else np.nan
            found.surprise_n[position] = surprise_p[own_p].sum()
            found.surprise_variance_n[position] = surprise_variance_p[own_p].sum()
            if moved_kpd is not None:
                if way.has_tangents or not way.has_gradients:
                    found.score_nk[position] = score_pk[own_p].sum(axis=0)
                variance_k, square_k = variance_pk[own_p].sum(axis=0), square_pk[own_p].sum(axis=0)
                found.variance_nk[position] = np.where(variance_k <= _ZERO_VARIANCE * square_k, 0.0, variance_k)
        return pulled_pd, drawn_pd

    def _pull_back(
        self,
        groups: Sequence[Group],
        steps: _Steps,
        places: Mapping[int, npt.NDArray[np.int64]],
        final_pd: Tensor,
        cotangent_pd: Tensor,
        leaves: Mapping[int, Tensor],
        *,
        is_response: bool,
    ) -> None:
        """Read S along every direction off the gradient at the layers, one turn of each group at a time."""
        found = self.evidence
        for round_number in range(max(len(group.wanted) for group in groups)):
            asked = [group.wanted[round_number] for group in groups if len(group.wanted) > round_number]
            in_round = np.isin(np.asarray(steps.turns), asked)[steps.turn_p]
            mask_p = torch.from_numpy(in_round).to(cotangent_pd.device)
            gradients = torch.autograd.grad(
                final_pd, list(leaves.values()), cotangent_pd * mask_p[:, None], retain_graph=True
            )
            for layer, gradient_ntd in zip(leaves, gradients, strict=True):
                gradient_td = gradient_ntd.flatten(0, 1)
                for position in asked:
                    own_td = gradient_td[torch.from_numpy(places[position]).to(gradient_td.device)]
                    total_d = own_td.sum(dim=0, dtype=torch.float32).double().cpu().numpy()
                    if layer in self._job.random:
                        slopes_r = self._job.random[layer].astype(np.float64) @ total_d
                        (found.random_nr if is_response else found.random_null_nr)[layer][position] = slopes_r
                    columns = self._columns[layer]
                    slopes_k = self._vectors_kd[columns].astype(np.float64) @ total_d
                    # A gradient is as good as tangents are, and better than differences.
                    if is_response and (self._job.level == "score" or not self._way.has_tangents):
                        found.score_nk[position, columns] = slopes_k
                    elif not is_response and self._job.level == "score":
                        found.variance_nk[position, columns] = slopes_k**2


def draw_random_directions(d_hidden: int, layer: int, n_directions: int) -> _Array:
    """Return unit directions [r, d] that owe nothing to any data; the same for every scan."""
    directions_rd = np.random.default_rng([d_hidden, layer, n_directions]).standard_normal((n_directions, d_hidden))
    directions_rd /= np.sqrt((directions_rd**2).sum(axis=1, keepdims=True))
    return directions_rd.astype(np.float32)


@contextlib.contextmanager
def _few_threads(model: LoadedModel) -> Iterator[None]:
    """Work on one thread where a model is so small that threads wait for each other longer than they compute."""
    n_threads = torch.get_num_threads()
    if model.device.type != "cpu" or model.d_hidden >= _THREADED_WIDTH:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


def _count_steps(turn: TokenizedTurn) -> int:
    return turn.stop - max(turn.start, 1) + (turn.end_id is not None)


def _pick(final_td: Tensor, steps: _Steps, device: torch.device) -> Tensor:
    # The last block may lie on another device than the first, and logits come back to that.
    return final_td[torch.from_numpy(steps.rows_p).to(final_td.device)].to(device)


def _gather_packed(states: Mapping[int, Tensor], places: Mapping[int, npt.NDArray[np.int64]], n_tokens: int) -> Tensor:
    """Lay states [t, d] of turns where their tokens lie; [1, n_tokens, d]."""
    like = next(iter(states.values()))
    start_td = torch.zeros((n_tokens, like.shape[1]), dtype=like.dtype, device=like.device)
    for position, places_t in places.items():
        start_td[torch.from_numpy(places_t).to(like.device)] = states[position]
    return start_td[None]


def _to_numpy(values: Tensor) -> _Floats:
    own: _Floats = values.double().cpu().numpy()
    return own


def measure_evidence(
    model: LoadedModel,
    tokenized: Sequence[TokenizedTurn],
    *,
    job: EvidenceJob,
    batch_tokens: int,
    seeds: Sequence[int],
    groups: Sequence[int] | None = None,
) -> Evidence:
    """Measure turns and nothing else; see `hidden.project_turns` for measuring and projecting at once.

    Args:
        seeds: by turn, what the tokens of the null are drawn with.
        groups: the group of every turn, such as its sample; None: every turn is a group of its own.

    Raises:
        ModelError: the model is loaded in part or has no output head; a single turn does not fit into memory.
    """
    from audit.model.hidden import project_turns

    own_groups = list(range(len(tokenized))) if groups is None else list(groups)
    meter = EvidenceMeter(
        model,
        tokenized,
        job,
        wanted=range(len(tokenized)),
        seeds=dict(enumerate(seeds)),
        groups=own_groups,
    )
    project_turns(model, tokenized, units={}, batch_tokens=batch_tokens, groups=own_groups, meter=meter)
    return meter.evidence
