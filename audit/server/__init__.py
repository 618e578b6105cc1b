"""An OpenAI-compatible server that answers prompts and conversations: one request, its repetition, and many at once.

Knows neither runs nor caches: text goes out, answers and reasons come back. The API key stands in a header alone.
"""

from audit.server.asking import Request, ask_many, ask_server
from audit.server.chat import JUDGE_OPTIONS, SERVER_OPTIONS, ChatAnswer, ChatServer, connect_chat
from audit.server.completions import CompletionServer, connect_server, sampling
from audit.server.service import OptionNames, Wait, is_same_model, list_models, normalise_url

__all__ = [
    "JUDGE_OPTIONS",
    "SERVER_OPTIONS",
    "ChatAnswer",
    "ChatServer",
    "CompletionServer",
    "OptionNames",
    "Request",
    "Wait",
    "ask_many",
    "ask_server",
    "connect_chat",
    "connect_server",
    "is_same_model",
    "list_models",
    "normalise_url",
    "sampling",
]
