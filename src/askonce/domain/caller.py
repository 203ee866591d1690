"""Who asks."""

from msgspec import Struct

ANONYMOUS_TENANT = "anonymous"


class Caller(Struct, frozen=True):
    """Hold an identity that admission has proved.

    `identity` names the limit window (`key:<id>` or `addr:<address>`), `tenant` who shares answers with it,
    `key_id` the public id of the key (never the key) or "" for the anonymous.
    """

    identity: str
    tenant: str
    key_id: str = ""
