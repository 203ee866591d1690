"""The steps. Each names the one before it, and is never changed once it was released."""
