"""An OpenAI-compatible server that answers prompts: one request, its repetition, and many at once.

Knows neither runs nor caches: text goes out, answers and reasons come back. The API key stands in a header alone.
"""

from audit.server.asking import Request, ask_server
from audit.server.completions import (
    COMPLETION_PARAMETERS,
    CompletionServer,
    connect_server,
    is_same_model,
    list_models,
    normalise_url,
)

__all__ = [
    "COMPLETION_PARAMETERS",
    "CompletionServer",
    "Request",
    "ask_server",
    "connect_server",
    "is_same_model",
    "list_models",
    "normalise_url",
]
