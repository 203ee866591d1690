"""The doors of workflows and jobs: they take work in, tell how it stands, and stop it. The worker does it."""
