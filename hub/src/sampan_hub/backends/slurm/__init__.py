"""Jobs of a Slurm cluster, each as a job of the person who asked."""
