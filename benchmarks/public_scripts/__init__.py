"""`unpool.check` by one inserted line in public training scripts: healthy, and with mistakes planted in their text."""
