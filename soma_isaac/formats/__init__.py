"""Foreign bytes in and out: the only code that touches zip, pickle, USD, BVH or CSV."""
