"""Scores of demo rows measured directly with torch: every turn against the model's own response."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from audit.demo.measure import Reading, generate_responses, read_responses
from audit.demo.phrases import TRAITS
from audit.demo.separation import Labels, Scores
from audit.demo.world import Message, Row

Floats = npt.NDArray[np.float32]

_RANDOM_SEED: Final = 8_001


@dataclass(frozen=True)
class MeasuredRows:
    """Readings of every assistant turn of n rows, of the dataset's response and of the model's."""

    labels: Labels
    row_of_turn: npt.NDArray[np.int64]
    response: Reading
    baseline: Reading

    def row_maximum(self, values_t: Floats) -> Floats:
        """Return the maximum over each row's turns; turns are grouped by row."""
        starts = np.flatnonzero(np.diff(self.row_of_turn, prepend=-1))
        maxima: Floats = np.maximum.reduceat(values_t, starts, axis=0)
        return maxima

    def project(
        self,
        vectors: Mapping[str, Floats],
        layers: Mapping[str, int],
        *,
        n_random: int = 200,
        bag_of_words: Mapping[str, Floats] | None = None,
    ) -> Scores:
        """Project on the unit vectors of the chosen layers; vectors are [L + 1, d]."""
        n_rows = len(self.labels.is_fiction_n)
        nothing_n = np.full(n_rows, np.nan, dtype=np.float32)
        difference, projection, prompt, random = {}, {}, {}, {}
        for trait, vector_ld in vectors.items():
            layer = layers[trait]
            unit_d = (vector_ld[layer] / np.linalg.norm(vector_ld[layer])).astype(np.float32)
            response_td = self.response.mean_nld[:, layer]
            difference_td = response_td - self.baseline.mean_nld[:, layer]
            projection[trait] = self.row_maximum(response_td @ unit_d)
            difference[trait] = self.row_maximum(difference_td @ unit_d)
            prompt_td = response_td - self.response.prompt_nld[:, layer]
            prompt[trait] = self.row_maximum(prompt_td @ unit_d)
            generator = np.random.default_rng(_RANDOM_SEED)
            directions_dr: Floats = generator.standard_normal((len(unit_d), n_random)).astype(np.float32)
            directions_dr /= np.linalg.norm(directions_dr, axis=0)
            random[trait] = self.row_maximum((difference_td @ directions_dr).astype(np.float32))
        return Scores(
            difference=difference,
            projection=projection,
            prompt_difference=prompt,
            random=random,
            bag_of_words=bag_of_words or dict.fromkeys(vectors, nothing_n),
            n_tokens_n=self.row_maximum(self.response.n_tokens_n.astype(np.float32)),
            nll_n=self.row_maximum(self.response.nll_n),
        )


def label_rows(rows: Sequence[Row]) -> Labels:
    """Collect the judge's labels of rows."""
    return Labels(
        shown={trait: np.array([trait in row.traits for row in rows]) for trait in TRAITS},
        is_fiction_n=np.array([row.is_fiction for row in rows]),
    )


def score_rows(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, rows: Sequence[Row]) -> MeasuredRows:
    """Read every turn of the rows, and the model's own greedy response to its prompt."""
    prompts: list[tuple[Message, ...]] = []
    contents: list[str] = []
    row_of_turn: list[int] = []
    for number, row in enumerate(rows):
        for index, message in enumerate(row.messages):
            if message["role"] == "assistant":
                prompts.append(row.messages[:index])
                contents.append(message["content"])
                row_of_turn.append(number)
    responses = tokenizer(contents, add_special_tokens=False)["input_ids"]
    return MeasuredRows(
        labels=label_rows(rows),
        row_of_turn=np.array(row_of_turn),
        response=read_responses(model, tokenizer, prompts, responses),
        baseline=read_responses(model, tokenizer, prompts, generate_responses(model, tokenizer, prompts)),
    )
