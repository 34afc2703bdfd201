"""The network managers, and the files by which each makes bridges at boot."""
