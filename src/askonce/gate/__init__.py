"""The road: admission, answering, dispatch, relay, settlement. Works on domain values and ports only."""
