"""`sampan up`: starts the three processes, keeps them running, takes over those of an earlier `sampan up`."""
