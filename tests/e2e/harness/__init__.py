"""What the cases are written with: processes, clusters, clients, checks. See ../README.md."""
