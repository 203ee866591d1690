"""The durable engine: rounds of executions that go on where a dead process left them. The only home of `dbos`."""
