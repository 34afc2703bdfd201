"""What is known of a control beside its row: the keys that want it, its proofs, the names that it may wait for. The
commands say it of one control, docs/generate of all."""
