"""A whole Sampan on the testbed: installed from wheels on the hub host, its environment for people on /shared.

`build` makes what is installed, once for all runs; `site` puts it on the machines and runs its three processes;
`person` is somebody who logs in and works.
"""
