"""Where ``dg`` looks for definitions; this project keeps its own in ``definitions.py``."""
