"""Say in words why a connection failed: people do not read error numbers."""

import http.client
import ssl


def reason(error: OSError | http.client.HTTPException) -> str:
    """Return a few words without a full stop."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return "it does not answer in time"
    if isinstance(error, http.client.RemoteDisconnected | ConnectionResetError | http.client.IncompleteRead):
        return "it hung up"
    if isinstance(error, http.client.HTTPException):
        return "it does not speak HTTP as it should"
    return (error.strerror or type(error).__name__).lower()
