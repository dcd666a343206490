"""The keeper of one local job: a small process of its own that starts the job, watches it and records its end.

Standard library only and nothing of `sampan_hub`: it runs as `python -I -S <this folder>` under the short name
`shim`, starts in milliseconds, and goes on when the service is upgraded, restarted or gone. The service imports
`files` and `procfs` from here, so that both sides read records and processes in one way.
"""
