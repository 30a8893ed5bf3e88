"""Cloud Storage on this machine: the JSON API that Google's own clients speak.

Metadata is kept in SQLite, content in files; both survive a kill at any moment. What the service
does not do it answers with 501 and says so. Callers are not authenticated and IAM policies are
kept but not enforced: everything listens on loopback only.
"""
