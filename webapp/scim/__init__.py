"""SCIM 2.0 under /scim/v2: an organisation's directory keeps its members and teams up to date.

Context: Entra ID and Okta push people by RFC 7643 and 7644, each with habits of its own. Decision:
the messages, filters and PATCH are `scim2_models`'; we map its users to members and its groups to
teams, and carry changes out with the verbs that an owner uses, as `licensing.actors.Directory`.
Consequence: what may not be done at a desk may not be done by SCIM either; the last owner stays.
Rejected: a table of users beside the members, which would need to be kept equal to them.
"""
