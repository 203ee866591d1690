"""How much is allowed: decided from what is stored and the time that is given, without I/O."""
