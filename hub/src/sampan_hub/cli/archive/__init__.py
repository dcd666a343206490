"""Backups: one private tar file with a manifest, and the databases that go into it and come out of it."""
