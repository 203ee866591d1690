"""The embedded model: its weights, how they are had, and the process that serves them in the OpenAI shape."""
