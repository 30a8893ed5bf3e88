"""Release: a registered version becomes what the endpoint answers with, and can be taken back."""
