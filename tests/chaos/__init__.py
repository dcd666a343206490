"""What faults on every backend share: dealing them from a seed, telling what came of them, asking a light service.

A *light installation* is the real service with its real backend; jobs are a tiny program, and there is no hub.
"""
