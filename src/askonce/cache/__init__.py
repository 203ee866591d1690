"""When two calls are the same, what is kept and for how long, and one payment for many waiters. No I/O."""
