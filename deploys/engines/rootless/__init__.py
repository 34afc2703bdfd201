"""Users who run containers without root: who may, with which ids, and whom their engines listen to."""
