"""Ask a provider's endpoint something that is free: which models it has.

It goes the gateways' own way out: the same certificates and proxies, and no redirect is followed, so that a key reaches
the configured address and nothing else.
"""

import asyncio

from askonce.config.settings import ProviderSettings
from askonce.domain.errors import AskonceError, ConfigError
from askonce.providers.catalog import Vendor, custom, normal_base_url, vendor_named
from askonce.providers.chat import fixed
from askonce.providers.http import Http, Limits, Request
from askonce.providers.network import Network

PROBE_S = 5.0
_ANTHROPIC_VERSION = "2023-06-01"  # the only one there is: docs.anthropic.com, "Versions"


def probe(provider: ProviderSettings, network: Network) -> str:
    """Return "" if the endpoint answers and takes our key, else what is wrong and what to do about it."""
    try:
        vendor = vendor_named(provider.name) or custom(provider.name, provider.base_url)
        base = normal_base_url(provider.name, provider.base_url) if provider.base_url else vendor.base_url
        fixed(base, provider.api_key)
    except (ValueError, ConfigError) as error:
        return str(error)
    if vendor.shape == "script":
        return ""
    if vendor.needs_key and not provider.api_key and not provider.base_url:
        return f"has no key; set {vendor.variable}"
    if not base:
        return f"has no address; {vendor.cure}"
    request = Request("GET", _url(vendor, base), _headers(vendor, provider.api_key), b"", vendor.title)
    return asyncio.run(_ask(request, vendor, network))


async def _ask(request: Request, vendor: Vendor, network: Network) -> str:
    http = Http(network)
    try:
        async with http.exchange(request, Limits(PROBE_S, PROBE_S, PROBE_S, PROBE_S)) as reply:
            return _judge(reply.status, request.url, vendor)
    except AskonceError as error:
        return f"{request.url}: {error.message} Check the network, the proxy and the address."
    finally:
        await http.close()


def _judge(status: int, url: str, vendor: Vendor) -> str:
    if status in {401, 403} or (status == 400 and vendor.shape == "gemini"):  # Google's word for a bad key
        return f"{url} refuses our key ({status}); correct {vendor.variable or 'its api_key'}"
    if 300 <= status < 400:
        return f"{url} answers with a redirect ({status}), which is not followed; correct its base URL"
    # 404, 405: a server without a list of models.
    return "" if status < 300 or status in {404, 405} else f"{url} answers {status}"


def _url(vendor: Vendor, base: str) -> str:
    base = base.rstrip("/")
    return f"{base}/v1/models" if vendor.shape == "anthropic" and not base.endswith("/v1") else f"{base}/models"


def _headers(vendor: Vendor, key: str) -> tuple[tuple[str, str], ...]:
    headers = (("Accept", "application/json"),)
    if not key:
        return headers
    if vendor.shape == "anthropic":
        return (*headers, ("x-api-key", key), ("anthropic-version", _ANTHROPIC_VERSION))
    return (*headers, (vendor.key_header, key) if vendor.key_header else ("Authorization", f"Bearer {key}"))
