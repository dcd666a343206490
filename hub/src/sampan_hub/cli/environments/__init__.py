"""Environments for people's code, on storage that every node sees: built aside, then switched to in one step."""
