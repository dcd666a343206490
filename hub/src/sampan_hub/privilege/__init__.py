"""The one privileged program, `sampan-run-as`: a few fixed things done as a person, for the service.

Standard library only, and little of it: it starts for every call.
"""
