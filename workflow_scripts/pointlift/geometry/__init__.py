"""Ground floor: meshes, cameras, visibility, sampling. Numpy and scipy, no torch, no I/O."""
