"""Askonce: a self-hosted LLM gateway where no answer is paid for twice."""

__version__ = "0.1.0"
