"""The shapes of questions by the paths of their doors: what can be asked in the background, and how it is rendered."""

from collections.abc import Mapping
from types import MappingProxyType

from askonce.wire.anthropic_door import MESSAGES
from askonce.wire.door import Codec
from askonce.wire.native_answer import NATIVE
from askonce.wire.openai_door import CHAT
from askonce.wire.openai_embeddings import EMBEDDINGS
from askonce.wire.responses_door import RESPONSES

CODECS: Mapping[str, Codec] = MappingProxyType(
    {
        "/llm/generate": NATIVE,
        "/v1/chat/completions": CHAT,
        "/v1/responses": RESPONSES,
        "/v1/messages": MESSAGES,
        "/v1/embeddings": EMBEDDINGS,
    }
)
