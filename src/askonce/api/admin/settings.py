"""The settings in force, and where each comes from; nothing is changed here."""

from msgspec import Struct

from askonce.api.bodies import Body
from askonce.api.errands import Errand, Handler
from askonce.config.reference import in_force
from askonce.config.settings import Config


class SettingView(Body, frozen=True):
    """Tell one setting: its value as it is written in askonce.toml, secrets masked; `origin` is `default`, or where."""

    key: str
    value: str
    origin: str
    about: str


class SettingList(Body, frozen=True):
    """List all settings of the process that answers, providers, aliases and routing included."""

    settings: list[SettingView]


def settings_handlers(config: Config) -> dict[str, Handler]:
    """Return the handler of the door."""

    async def handle(errand: Errand) -> Struct:
        return SettingList([SettingView(one.key, one.value, one.origin, one.sentence) for one in in_force(config)])

    return {"settings": handle}
