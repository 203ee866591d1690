"""Steps of the tables of executions."""
