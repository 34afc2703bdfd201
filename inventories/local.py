"""This host alone, without SSH."""

hosts = ["@local"]
