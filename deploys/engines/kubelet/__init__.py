"""The kubelet: what its API is open to, what pods get from it, and who may read and change its files."""
