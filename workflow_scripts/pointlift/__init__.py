"""pointlift: from 2D image models to 3D point-cloud encoders, measured honestly."""

from pointlift.rooms import available, load

__all__ = ["available", "load"]
__version__ = "0.1.0"
