"""What Entra ID and Okta send that the RFCs do not have, brought into the form that they have.

Entra sends a manager as a bare id and application roles as a JSON text; Okta repeats the id and
schemas of a group beside the attributes that it replaces. What neither of them means as a change is
left out; what is wrong stays wrong, and is refused by the schema.
"""

import json
from typing import Any

MANAGER = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:user:manager"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
READ_ONLY = frozenset({"id", "schemas", "meta", "groups"})


def tidy(body: dict[str, Any]) -> dict[str, Any]:
    """Return a PATCH message with each operation in the form of the RFC."""
    operations = body.get("Operations")
    if not isinstance(operations, list):
        return body
    return {**body, "Operations": [_operation(each) for each in operations]}


def tidy_resource(body: dict[str, Any]) -> dict[str, Any]:
    """Return a whole resource as the schema wants it."""
    kept = {name: value for name, value in body.items() if name.lower() not in {"meta", "groups"}}
    work = kept.get(ENTERPRISE)
    if isinstance(work, dict) and isinstance(work.get("manager"), str):
        kept[ENTERPRISE] = {**work, "manager": {"value": work["manager"]}}
    return kept


def _operation(given: Any) -> Any:
    if not isinstance(given, dict):
        return given
    path, value = str(given.get("path") or ""), given.get("value")
    if path.lower() == MANAGER and isinstance(value, str):
        return {**given, "value": {"value": value}} if value else {"op": "remove", "path": path}
    if path.lower().startswith("roles") and isinstance(value, str):
        return {**given, "value": _role(value)}
    if path.lower() == "roles" and isinstance(value, list):
        return {**given, "value": [_role_entry(each) for each in value]}
    if not path and isinstance(value, dict):
        return {**given, "value": {k: v for k, v in value.items() if k.lower() not in READ_ONLY}}
    return given


def _role_entry(given: Any) -> Any:
    if isinstance(given, dict) and isinstance(given.get("value"), str):
        return {**given, "value": _role(given["value"])}
    return given


def _role(given: str) -> str:
    """Entra writes a role as `{"id": …, "value": "admin", "displayName": …}`, in quotes."""
    if not given.startswith("{"):
        return given
    try:
        read = json.loads(given)
    except ValueError:
        return given
    return str(read.get("value") or given) if isinstance(read, dict) else given
