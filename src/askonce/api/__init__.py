"""The doors: HTTP in, HTTP out. One table of doors drives guard, limits, bodies, OpenAPI and docs."""
