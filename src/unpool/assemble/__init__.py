"""Settings to objects: the only place where data, networks, tasks and training meet."""
