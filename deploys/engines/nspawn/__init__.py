"""systemd-nspawn: how systemd starts machines from now on."""
