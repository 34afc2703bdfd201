"""Network managers, each told what is to last."""
