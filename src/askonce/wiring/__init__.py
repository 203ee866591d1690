"""The only room that names concrete adapters: a configuration becomes a gateway."""
