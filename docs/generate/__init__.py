"""What the reference is made of: each page is a pure function of the code, and `python -m docs.generate` writes all."""
