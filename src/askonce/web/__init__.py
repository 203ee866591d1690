"""The dashboard as it was built: files in memory, served under /ui/."""
