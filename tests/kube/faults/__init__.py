"""Faults over the real cluster: light installations (the real service and backend, with the chart's own rights; their
jobs are a tiny program in pods), what can be done to them and to Kubernetes, and a judge that believes kubectl alone.

The services run beside the cluster, on the host: so they can be killed and replaced at will. Pods reach them by a TLS
entry there, and one of them reaches the API server by a stand-in that can be told to misbehave.
"""
