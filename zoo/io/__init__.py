"""Files and the machine: atomic writes, locks, paths, the cache folder, git facts, threads, the terminal."""
