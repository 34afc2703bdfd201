"""READ: what a host says of itself. One room per subject; `survey` asks them all in one execution."""
