"""Workflows and jobs: work that outlives its request, each of whose answers is paid for once."""
