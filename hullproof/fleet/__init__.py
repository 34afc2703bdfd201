"""One run over a part of the inventory each: several processes on this machine, or workers of Dask elsewhere."""
