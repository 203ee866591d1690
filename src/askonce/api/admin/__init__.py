"""The doors that administer: keys, people, budgets, providers' keys, reports and the audit."""
