"""The drafting room: a chat model writes a trait specification, piece by piece, and is asked again for what is missing.

A draft is for a person to read and edit. Knows no model but the one that writes.
"""

from audit.drafting.asks import Subject
from audit.drafting.draft import Drafted, draft_trait
from audit.drafting.saving import DRAFT_SUFFIX, check_place, save_draft, write_draft

__all__ = ["DRAFT_SUFFIX", "Drafted", "Subject", "check_place", "draft_trait", "save_draft", "write_draft"]
