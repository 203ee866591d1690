"""Who asks."""

from msgspec import Struct

from askonce.domain.identity import Scope, Session, Standing

ANONYMOUS_TENANT = "anonymous"


class Caller(Struct, frozen=True):
    """Hold an identity that admission has proved.

    `identity` names the limit window (`key:<id>`, `user:<id>` or `addr:<address>`), `tenant` who shares answers with
    it, `key_id` the public id of the key (never the key) or "" where there is none. `scopes` are what it may do now.
    `standing` is there for a key of the database, `session` where a login's cookie or id was shown. `address` is the
    client's, as far as proxies are believed.
    """

    identity: str
    tenant: str
    key_id: str = ""
    scopes: tuple[Scope, ...] = ("use",)
    user_id: str = ""
    standing: Standing | None = None
    session: Session | None = None
    address: str = ""
