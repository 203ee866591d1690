"""Whoever submitted an execution, as its nodes ask in that name, hours later.

Store away: closed, as at the door. What was revoked, has run out or was disabled by then asks nothing more. Keys of
`ASKONCE_KEYS` and callers without any key have no standing: nothing of them can change while the server runs.
"""

from askonce.domain.caller import Caller
from askonce.domain.clock import Clock
from askonce.domain.errors import Forbidden, Unauthorized
from askonce.domain.executions import Submitter
from askonce.domain.identity import Directory, Holder, KeyCard, Standing
from askonce.gate.scopes import DISABLED, require, require_address, require_standing

GONE = "The key that this was submitted with is not known any more."
NO_USER = "The user who submitted this is not known any more."
LOGIN = "user:"  # how the identity of a login without a key begins (`gate.admission`)


class Submitters:
    """Make callers of submitters, by what holds now."""

    def __init__(self, directory: Directory, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock

    async def caller(self, submitter: Submitter) -> Caller:
        """Return who asks. Raises `Forbidden`, saying why, where that may ask nothing any more; `StoreUnavailable`."""
        try:
            standing = await self._standing(submitter)
        except Unauthorized as refused:
            raise Forbidden(refused.message) from None
        return Caller(
            submitter.identity,
            submitter.tenant,
            submitter.key_id,
            ("use",) if standing is None else standing.card.scopes,
            submitter.user_id,
            standing,
            None,
            submitter.address,
        )

    async def _standing(self, submitter: Submitter) -> Standing | None:
        if submitter.key_digest:
            return await self._by_key(submitter)
        if submitter.identity.startswith(LOGIN):
            return await self._by_login(submitter)
        return None

    async def _by_key(self, submitter: Submitter) -> Standing:
        standing = await self._directory.find(submitter.key_digest)
        if standing is None:
            raise Unauthorized(GONE)
        card = require_standing(standing, self._clock.wall_ms())
        require_address(card.addresses, submitter.address)
        require(card.scopes, "use")
        return standing

    async def _by_login(self, submitter: Submitter) -> Standing:
        """Return what bounds a user: its own budgets and its tenant's."""
        user_name, tenant_name = submitter.identity, f"tenant:{submitter.tenant}"
        holders = {holder.name: holder for holder in await self._directory.holders(user_name, tenant_name)}
        if any(holder.disabled_ms for holder in holders.values()):
            raise Unauthorized(DISABLED)
        user = holders.get(user_name)
        if user is None:
            raise Unauthorized(NO_USER)
        require(user.scopes, "use")
        return Standing(_card(submitter, user), user, holders.get(tenant_name))


def _card(submitter: Submitter, user: Holder) -> KeyCard:
    user_id = user.name.removeprefix(LOGIN)
    return KeyCard("", b"", "", "", submitter.tenant, user_id, user.scopes)
