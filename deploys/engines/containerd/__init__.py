"""containerd: what its plugin for Kubernetes (CRI) gives new containers, and who may speak to it."""
