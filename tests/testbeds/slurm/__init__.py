"""A real Slurm on machines of its own, on one computer; needs root and what `make test-slurm` installs.

A test in `tests/slurm` asks for the fixture `slurm`, a `Cluster` that the whole session shares:

    def test_something(slurm: Cluster) -> None:
        number = slurm.submit("alice", "#!/bin/sh\\nhostname\\n", "--time=1")       # sbatch on the hub host
        slurm.wait_for_job(number, "COMPLETED")
        assert slurm.nodes["node1"].run(["id", "-u"], user="bob").stdout == "4002\\n"

Machines (`slurm.machines[name]`), each with its own processes, host name, network, disk, /etc, /tmp, /run and /dev/shm:

    slurm.hub      hubhost 10.88.0.2   of proxy, hub and service, as user `sampan`; answers on PUBLIC_PORTS; has sudo
    slurm.nodes    node1.. 10.88.0.11  slurmd; answer on JOB_PORTS; node1 and node2 have two GPUs each
    slurm.ctl      ctl     10.88.0.3   slurmctld, slurmdbd, MariaDB
                   desk    10.88.0.1   the computer itself: reaches the hub host's PUBLIC_PORTS, and nobody reaches it

Machines have nothing in common but /usr (read-only), /home and /shared; neither the clone nor root's home is there.
`slurm.shared` and `slurm.home("alice")` are the latter two as the computer sees them; `machine.root` is a machine's
disk, `machine.path("/tmp/x")` any file of it while it runs. `machine.bind(folder, "/opt/x")` shows it a folder of the
computer. People: alice (lab-a), bob (lab-b), the service's account sampan; they exist on the machines only, their
interpreter is /usr/bin/python3.11.

    machine.run(argv, user=, cwd=, env=, input=, timeout_s=, check=)    a CompletedProcess, text
    machine.popen(argv, user=, …, stdout=PIPE)                          a Popen; signals reach the command itself
    machine.listeners()                                                 lines of ss
    slurm.ask("squeue", "-a")                                           Slurm's commands as root
    slurm.commands(folder, machine, user)                               squeue, sbatch… for a process on the computer

What happens to clusters; `restore()` after every test puts all of it back, except jobs (fixture `no_jobs` for these):

    slurm.slurmctld / slurm.accounting.slurmdbd / slurm.slurmd["node1"]   .start() .stop() .kill() .pid()
    slurm.start_slurmctld(), slurm.accounting.start_slurmdbd()           start, and wait for an answer
    slurm.crash("node1"), .wait_until_down("node1"), .declare_down("node1"), .boot("node1"), .drain(…), .resume(…)
    slurm.changed({"PrivateData": "jobs"})     a block with other lines of slurm.conf; configure(…) until the test's end
    slurm.accounting.set_private("jobs")       sacct answers for one's own jobs only
    slurm.hide_partition("compute")            slurm.homes.fill("alice")   not a byte of room left in her home
    slurm.capture(file)                        a block's packets between machines; capture.find(b"secret") afterwards
    slurm.count_requests()                     RPCs by type since slurmctld's start

A test that needs a cluster of its own (`with running_cluster(Profile(accounting=False)) as cluster`) does not ask for
`slurm`; such tests run before the session's cluster starts, for there is room for one at a time.

`python -m tests.testbeds.slurm` starts a cluster and a shell on its hub host.
"""
