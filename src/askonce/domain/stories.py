"""How a paid call went on the road, as it is kept beside its row: what was decided, and how long each stage took."""

import msgspec
from msgspec import Struct

CONSIDERED_MAX = 8  # of those who were thought of


class Stage(Struct, frozen=True, rename="camel"):
    """Hold how long one stage took: `admission`, `boarding`, `dispatch`, `first_token`, `generation`, `settlement`."""

    stage: str
    took_ms: float


class Thought(Struct, frozen=True, omit_defaults=True):
    """Hold one who was thought of. `skipped` says why it was not asked."""

    provider: str
    model: str
    score: float | None = None
    skipped: str = ""


class Story(Struct, frozen=True, rename="camel", omit_defaults=True):
    """Tell of a call. `cache_key` (hexadecimal) is its answer's in the store; `attempt` counts within its request.

    `followers` had joined by its end. The last stage, `settlement`, is told until the row was made.
    """

    mode: str
    cache_key: str = ""
    attempt: int = 1
    followers: int = 0
    stages: tuple[Stage, ...] = ()
    considered: tuple[Thought, ...] = ()


def write_story(story: Story) -> str:
    """Return a story as JSON."""
    return _encoder.encode(story).decode()


def read_story(text: str) -> Story | None:
    """Read what `write_story` wrote; None where there is nothing, or nothing that can be read."""
    try:
        return _decoder.decode(text) if text else None
    except msgspec.MsgspecError:
        return None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Story)
