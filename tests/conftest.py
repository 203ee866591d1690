"""What holds for all tests."""

import gc

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish() -> None:
    """Let garbage go before plugins import what they need at the end.

    Finalisers that run while a module is parsed make some releases of Python 3.11 give up on it ("AST constructor
    recursion depth mismatch", https://github.com/python/cpython/issues/106905).
    """
    gc.collect()
