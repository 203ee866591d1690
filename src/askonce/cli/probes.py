"""Ask a provider's endpoint something that is free: which models it has."""

import urllib.error
import urllib.request

from askonce import __version__
from askonce.config.settings import ProviderSettings
from askonce.providers.catalog import Vendor, custom, normal_base_url, vendor_named

PROBE_S = 5.0
_ANTHROPIC_VERSION = "2023-06-01"  # the only one there is: docs.anthropic.com, "Versions"


def probe(provider: ProviderSettings) -> str:
    """Return "" if the endpoint answers and takes our key, else what is wrong and what to do about it."""
    try:
        vendor = vendor_named(provider.name) or custom(provider.name, provider.base_url)
        base = normal_base_url(provider.name, provider.base_url) if provider.base_url else vendor.base_url
    except ValueError as error:
        return str(error)
    if vendor.shape == "script":
        return ""
    if vendor.needs_key and not provider.api_key and not provider.base_url:
        return f"has no key; set {vendor.variable}"
    if not base:
        return f"has no address; {vendor.cure}"
    return _ask(_url(vendor, base), _headers(vendor, provider.api_key), vendor)


def _ask(url: str, headers: dict[str, str], vendor: Vendor) -> str:
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - the loader admits http and https only
    try:
        with urllib.request.urlopen(request, timeout=PROBE_S):  # noqa: S310 - likewise
            return ""
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in {401, 403} or (error.code == 400 and vendor.shape == "gemini"):  # Google's word for a bad key
            return f"{url} refuses our key ({error.code}); correct {vendor.variable or 'its api_key'}"
        return "" if error.code == 404 else f"{url} answers {error.code}"  # 404: a server without a list of models
    except OSError as error:
        reason = getattr(error, "reason", error)
        return f"{url} cannot be reached ({reason}); check the network, the proxy and the address"


def _url(vendor: Vendor, base: str) -> str:
    base = base.rstrip("/")
    return f"{base}/v1/models" if vendor.shape == "anthropic" and not base.endswith("/v1") else f"{base}/models"


def _headers(vendor: Vendor, key: str) -> dict[str, str]:
    headers = {"User-Agent": f"askonce/{__version__}", "Accept": "application/json"}
    if not key:
        return headers
    if vendor.shape == "anthropic":
        return headers | {"x-api-key": key, "anthropic-version": _ANTHROPIC_VERSION}
    return headers | ({vendor.key_header: key} if vendor.key_header else {"Authorization": f"Bearer {key}"})
