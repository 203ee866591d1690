"""Observers of what happens: logs. What fails here changes nothing for anybody else."""
