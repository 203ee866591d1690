"""Providers' keys of the database: opened by the worker, carried sealed through shared state, and used by gateways.

A gateway looks each second whether they are others; so a key that was added, rotated or retired is in force on every
worker within two seconds, without a restart. Calls in the air go on with the key that they have.
"""

import logging
from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from askonce.config.sealing import Sealed, Sealer
from askonce.config.secret import PROVIDER_KEYS, Secret
from askonce.config.settings import Config, ProviderSettings
from askonce.domain.accounts import Revealed
from askonce.providers import catalog

PLACE = "provider keys in shared state"
SOURCE = "askonce provider-keys"

_log = logging.getLogger("askonce.config")


def sealer_of(secret: Secret) -> Sealer:
    """Return who seals providers' keys under this secret."""
    return Sealer(secret.subkeys(PROVIDER_KEYS))


def pack(keys: Sequence[Revealed], sealer: Sealer) -> bytes:
    """Seal keys for the way."""
    told = msgspec.json.encode([(key.provider, key.secret) for key in keys]).decode()
    return msgspec.msgpack.encode(sealer.seal(told, PLACE))


def opened(packed: bytes, secret: Secret) -> list[tuple[str, str]]:
    """Open what `pack` sealed: providers with a key each. Raises `SecretChanged`, `msgspec.DecodeError`."""
    sealed = msgspec.msgpack.decode(packed, type=Sealed)
    return msgspec.json.decode(sealer_of(secret).open(sealed, PLACE), type=list[tuple[str, str]])


def with_keys(config: Config, keys: Sequence[tuple[str, str]]) -> Config:
    """Return the settings with further keys: behind those of the same provider, or for one that had none.

    What runs already goes on: the embedded model stays although somebody else can be asked now.
    """
    found: dict[str, tuple[str, ...]] = {}
    for name, secret in keys:
        found[name] = (*found.get(name, ()), secret)
    told = {settings.name: settings for settings in config.providers}
    for name, secrets in found.items():
        if name in told:
            told[name] = _added(told[name], secrets)
        elif catalog.vendor_named(name) is not None:
            told[name] = ProviderSettings(name, api_key=secrets[0], more_keys=secrets[1:], source=SOURCE)
        else:
            _log.warning("there is a key for the provider %r, but no [providers.%s] says where that is", name, name)
    local = catalog.wants_local_model(config.local_model, (settings.name for settings in config.providers))
    return replace(config, providers=tuple(told.values()), local_model="on" if local else config.local_model)


def _added(settings: ProviderSettings, secrets: tuple[str, ...]) -> ProviderSettings:
    own = tuple(key for key in settings.keys if key)
    first, *more = dict.fromkeys((*own, *secrets))  # the same key in both places is one
    return replace(settings, api_key=first, more_keys=tuple(more))
