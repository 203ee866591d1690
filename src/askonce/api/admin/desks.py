"""All handlers of administration, by their doors' names."""

from askonce.api.admin.auditing import audit_handlers
from askonce.api.admin.keys import key_handlers
from askonce.api.admin.money import budget_handlers
from askonce.api.admin.office import Clerk
from askonce.api.admin.people import tenant_handlers, user_handlers
from askonce.api.admin.usage import report_handlers
from askonce.api.admin.vendors import provider_key_handlers
from askonce.api.errands import Handler


def admin_handlers(clerk: Clerk) -> dict[str, Handler]:
    """Return the handlers."""
    return (
        report_handlers(clerk)
        | budget_handlers(clerk)
        | key_handlers(clerk)
        | tenant_handlers(clerk)
        | user_handlers(clerk)
        | provider_key_handlers(clerk)
        | audit_handlers(clerk)
    )
