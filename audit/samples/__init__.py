"""Dataset files turned into samples: stable ids, byte ranges, every assistant turn with its prompt.

A record that cannot be scored is a `SkippedSample` whose reason is a code, a colon, and the finding. The codes:
`bad_json`, `bad_csv`, `undecodable`, `no_shape` (not of the source's family), `bad_messages`, `unknown_role`,
`unsupported_content`, `bad_tools` and `no_assistant_turn`; of turns also `not_trained` and `tool_call`. Knows neither
tokenizers nor models.
"""

from audit.samples.content import hash_conversation
from audit.samples.copies import CopyCounts, copy_records
from audit.samples.families import load_families
from audit.samples.family import Conversation, Family, UnreadableRecord, answer_turn, rename_fields
from audit.samples.hub import is_hub_id
from audit.samples.layout import suggest_suffix
from audit.samples.locate import STDIN, locate_datasets
from audit.samples.read import read_conversations, read_sample_at, read_samples
from audit.samples.reasoning import join_parts, read_parts, replace_part
from audit.samples.records import read_records
from audit.samples.sample import Message, Place, Sample, SkippedSample, Turn
from audit.samples.source import Layout, Record, Source
from audit.samples.survey import hash_source, survey_source
from audit.samples.tools import count_calls

__all__ = [
    "STDIN",
    "Conversation",
    "CopyCounts",
    "Family",
    "Layout",
    "Message",
    "Place",
    "Record",
    "Sample",
    "SkippedSample",
    "Source",
    "Turn",
    "UnreadableRecord",
    "answer_turn",
    "copy_records",
    "count_calls",
    "hash_conversation",
    "hash_source",
    "is_hub_id",
    "join_parts",
    "load_families",
    "locate_datasets",
    "read_conversations",
    "read_parts",
    "read_records",
    "read_sample_at",
    "read_samples",
    "rename_fields",
    "replace_part",
    "suggest_suffix",
    "survey_source",
]
