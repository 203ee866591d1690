"""What nodes ask: the prompts of their types, filled with as much of what came before as the model reads."""
