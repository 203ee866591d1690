"""Shared state on Valkey or Redis: one server, Sentinel or Cluster."""
