"""The OpenAPI document: what every endpoint of every dialect takes and gives, declared here and not in the views.

The native door reads its bodies by Go's rules and streams NDJSON: nothing of that can be found by looking at its views.
So each dialect has a module of declarations, `document` makes one OpenAPI document of them, and a test compares them
with the routes.
"""
