"""One module per verb: a Config dataclass in, a Report dataclass out."""
