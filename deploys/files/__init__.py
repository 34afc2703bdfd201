"""Files that other controls stand on: only root may change them."""
