"""Dataset files turned into samples: stable ids, byte ranges, every assistant turn with its prompt.

A record that cannot be scored is a `SkippedSample` whose reason is a code, a colon, and the finding. The codes:
`bad_json`, `undecodable`, `no_shape` (not of the source's family), `bad_messages`, `unknown_role`,
`unsupported_content` and `no_assistant_turn`. Knows neither tokenizers nor models.
"""

from audit.samples.copies import CopyCounts, copy_records
from audit.samples.families import load_families
from audit.samples.family import Conversation, Family
from audit.samples.read import read_sample_at, read_samples
from audit.samples.records import read_records
from audit.samples.sample import Message, Place, Sample, SkippedSample, Turn
from audit.samples.source import Layout, Record, Source
from audit.samples.survey import survey_source

__all__ = [
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
    "copy_records",
    "load_families",
    "read_records",
    "read_sample_at",
    "read_samples",
    "survey_source",
]
