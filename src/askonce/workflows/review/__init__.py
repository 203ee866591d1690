"""Review of what nodes wrote: what really changed, how risky that is, and what a second model thinks of it."""
