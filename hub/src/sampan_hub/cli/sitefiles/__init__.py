"""Files of the operating system that a site needs: units of systemd, the sudo rule, the settings of sampan-run-as."""
