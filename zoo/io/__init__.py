"""Files and the machine: atomic writes, locks, paths, the cache folder, git information, threads, the terminal."""
