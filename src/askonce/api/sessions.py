"""The doors at which one logs in and out, and looks at one's own sessions; never at anybody else's."""

import re
from typing import TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from askonce.api.admin.office import Offices
from askonce.api.cookies import NAME, session_cookie, set_cookie
from askonce.api.errands import Errand, Handler
from askonce.api.replies import Reply, json_reply
from askonce.api.requests import Request
from askonce.api.session_rows import CurrentSession, Ended, OpenedSession, SessionList, SessionView
from askonce.api.trail import Trail
from askonce.domain.accounts import User
from askonce.domain.caller import Caller
from askonce.domain.errors import NotFound, Unauthorized
from askonce.domain.identity import Session
from askonce.gate.admission import Admission
from askonce.gate.logins import Logins, Opened

NO_SESSION = "This request came without a session. POST /sessions opens one."
NO_SUCH_SESSION = "You have no such session. GET /sessions lists those that you have."
WRONG_LINK = "This login link is not known, was used already, or is too old. Ask for a new one."
NEEDED = 'Send a key, or the word of a login link as {"word": "…"}.'
_View = TypeVar("_View", bound=SessionView)
_HANDLE = re.compile("[0-9a-f]{64}")


class SessionDoors:
    """Open, show and end sessions."""

    def __init__(self, logins: Logins, admission: Admission, offices: Offices, trail: Trail) -> None:
        self._logins = logins
        self._admission = admission
        self._offices = offices
        self._trail = trail

    def handlers(self) -> dict[str, Handler]:
        """Return the handlers by their doors' names."""
        return {
            "open_session": self.open,
            "sessions": self.list,
            "close_sessions": self.close_all,
            "session": self.current,
            "change_session": self.change,
            "close_session": self.close,
            "close_other_session": self.close_other,
        }

    async def open(self, errand: Errand) -> Reply:
        """Log in. A session that the browser had before ends: who logs in gets another id, always."""
        if errand.body.word:
            opened = await self._open_by_word(errand)
        else:
            opened = await self._open_by_key(errand)
        reply = msgspec.json.encode(_opened(opened))
        return json_reply(reply, [session_cookie(opened.id, secure=errand.secure)], 201)

    async def welcome(self, errand: Errand, user: User, by: str) -> Opened:
        """Open a session for somebody who has proved who they are, and write it down."""
        former = errand.request.cookie(NAME)
        if former:
            await self._logins.close(former)
        opened = await self._logins.open_for_user(user, errand.caller.address, _agent(errand.request))
        who = replace(errand.caller, identity=f"user:{user.id}", tenant=user.tenant)
        await self._trail.note((who, errand.request), "login", f"user:{user.id}", by=by, scopes=user.scopes)
        return opened

    async def refuse(self, errand: Errand, by: str, why: str) -> Unauthorized:
        """Write down that somebody was not let in; return what they are told."""
        who = (errand.caller, errand.request)
        await self._trail.note(who, "login.refused", "", "warning", by=by)
        return Unauthorized(why)

    async def list(self, errand: Errand) -> Struct:
        """List one's own."""
        found = await self._logins.of(_owner(errand.caller))
        own = errand.caller.session
        return SessionList(tuple(_view(each, SessionView, own) for each in found))

    async def current(self, errand: Errand) -> Struct:
        """Say who one is."""
        return _current(_session(errand.caller))

    async def change(self, errand: Errand) -> Struct:
        """Rename the session in use."""
        session = replace(_session(errand.caller), agent=errand.body.agent)
        await self._logins.change(session)
        return _current(session)

    async def close(self, errand: Errand) -> Reply:
        """Log out."""
        session = _session(errand.caller)
        ended = await self._logins.close_one(session.user_id, session.digest)
        await self._note_end(errand, int(ended))
        return _ended(int(ended), secure=errand.secure)

    async def close_all(self, errand: Errand) -> Reply:
        """End all of one's own."""
        ended = await self._logins.close_all(_owner(errand.caller))
        await self._note_end(errand, ended)
        return _ended(ended, secure=errand.secure)

    async def close_other(self, errand: Errand) -> Struct:
        """End one of one's own, by its handle."""
        handle = errand.key
        if not _HANDLE.fullmatch(handle):
            raise NotFound(NO_SUCH_SESSION)
        if not await self._logins.close_one(_owner(errand.caller), bytes.fromhex(handle)):
            raise NotFound(NO_SUCH_SESSION)
        await self._note_end(errand, 1)
        return Ended(1)

    async def _open_by_word(self, errand: Errand) -> Opened:
        office = await self._offices.open()
        user = await office.links.redeem(errand.body.word)
        if user is None:
            raise await self.refuse(errand, "link", WRONG_LINK)
        return await self.welcome(errand, user, "link")

    async def _open_by_key(self, errand: Errand) -> Opened:
        approach = errand.request.without_session()
        caller = await self._admission.admit(approach, writes=False)
        address, agent = errand.caller.address, _agent(errand.request)
        if caller.standing is not None:
            opened = await self._logins.open_for_key(caller.standing, address, agent)
        elif caller.key_id:
            digest = self._admission.digest_of(approach)
            opened = await self._logins.open_for_static(caller, digest, address, agent)
        else:
            raise Unauthorized(NEEDED)
        former = errand.request.cookie(NAME)
        if former:
            await self._logins.close(former)
        who = replace(caller, address=address)
        await self._trail.note((who, errand.request), "login", caller.identity, by="key", scopes=caller.scopes)
        return opened

    async def _note_end(self, errand: Errand, ended: int) -> None:
        await self._trail.note((errand.caller, errand.request), "logout", _owner(errand.caller), ended=ended)


def _owner(caller: Caller) -> str:
    """Name whose sessions a caller's are. Raises `NotFound` for one that has none."""
    if caller.session is not None:
        return caller.session.user_id
    if not caller.key_id:
        raise NotFound(NO_SESSION)
    return f"key:{caller.key_id}"


def _session(caller: Caller) -> Session:
    if caller.session is None:
        raise NotFound(NO_SESSION)
    return caller.session


def _agent(request: Request) -> str:
    return request.text(b"user-agent") or ""


def _current(session: Session) -> CurrentSession:
    return _view(session, CurrentSession, session, csrf_token=session.csrf)


def _opened(opened: Opened) -> OpenedSession:
    session = opened.session
    return _view(session, OpenedSession, session, csrf_token=session.csrf, session_id=opened.id)


def _view(session: Session, kind: type[_View], own: Session | None, **more: str) -> _View:
    return kind(
        session.digest.hex(),
        session.user_id,
        session.tenant,
        session.scopes,
        session.created_ms,
        session.used_ms,
        session.expires_ms,
        session.address,
        session.agent,
        own is not None and own.digest == session.digest,
        **more,
    )


def _ended(ended: int, *, secure: bool) -> Reply:
    return json_reply(msgspec.json.encode(Ended(ended)), [set_cookie(NAME, "", 0, secure=secure)])
