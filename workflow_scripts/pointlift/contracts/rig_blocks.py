"""The blocks of rigs in config.yaml: where cameras stand, what is drawn, and which points a camera sees."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from pointlift.contracts.settings import Settings


class Cameras(Settings):
    """Where the cameras of a rig stand. They look at the origin; distances are unit-sphere radii."""

    layout: Literal["ring", "sphere", "pointmcd12", "pointmcd16"] = "ring"
    num_views: int = Field(default=6, ge=1, le=64)
    elevation_degrees: float = Field(default=30.0, gt=-90.0, lt=90.0)
    distance: float = Field(default=2.7, gt=1.0, le=20.0)
    field_of_view_degrees: float = Field(default=45.0, gt=1.0, lt=120.0)


class Visibility(Settings):
    """How it is decided which points a camera sees."""

    method: Literal["rays", "z_buffer", "hidden_points"] = "rays"
    tolerance: float = Field(default=0.005, gt=0.0, le=0.1)
    """Rays and z-buffer: a surface this much nearer (radii) hides a point."""
    radius_factor: float = Field(default=10.0, ge=2.0, le=100.0)
    """Hidden point removal: flipping radius over the largest distance (Katz et al. 2007); 10 to 100 is a plateau."""


class CloudVisibility(Visibility):
    """The same for points without a surface: by the points alone, for discs have holes and stand out over edges."""

    method: Literal["rays", "z_buffer", "hidden_points"] = "hidden_points"
    """rays and z_buffer: against the discs that are drawn."""
    tolerance: float = Field(default=0.02, gt=0.0, le=0.1)
    radius_factor: float = Field(default=30.0, ge=2.0, le=100.0)
    """30 is best for 1,024 points; 10 for 256, 100 for 4,096 (tests/rendering/test_splat_visibility.py)."""


class RigSettings(Settings):
    """What every rig block says: how large its pictures are, and what is no picture."""

    kind: str
    image_size: int = Field(default=96, ge=16, le=1024)
    min_foreground: float = Field(default=0.002, ge=0.0, lt=1.0)
    """Smallest share of pixels that must show the shape, in every view."""
    min_contrast: float = Field(default=0.001, ge=0.0, lt=1.0)
    """Smallest standard deviation of the grey values in [0, 1], in every view: a constant picture is no render."""
    draws: ClassVar[Literal["meshes", "points"]] = "meshes"
    """The stage whose shards it photographs. Rigs that draw points serve every dataset, with meshes or without."""
    reads_frames: ClassVar[bool] = False
    """True: it draws nothing; its pictures are those that come with the clouds of a dataset (``has_views``)."""

    def image_source(self) -> str | None:
        """One word for what its pictures are made of, for the names of runs; None for pictures of meshes."""
        return None


class CameraRigSettings(RigSettings):
    """What every rig says whose pictures are drawn: where its cameras stand, and what they see."""

    cameras: Cameras = Cameras()
    visibility: Visibility = Visibility()
    part_maps: bool = False
    """True: every view comes with a map of named parts, for teachers that learn them; the dataset must have some."""


class Light(Settings):
    """A light infinitely far away that stands still in the world."""

    azimuth_degrees: float = Field(ge=-360.0, le=360.0)
    elevation_degrees: float = Field(ge=-90.0, le=90.0)
    strength: float = Field(ge=0.0, le=10.0)


class LitRigSettings(CameraRigSettings):
    """What every rig says whose surfaces are lit: matt grey on white, by Lambert's law."""

    albedo: float = Field(default=0.8, gt=0.0, le=1.0)
    """Grey of the surface; the background is white."""
    ambient: float = Field(default=0.25, ge=0.0, le=1.0)
    lights: tuple[Light, ...] = (
        Light(azimuth_degrees=65.0, elevation_degrees=50.0, strength=0.7),
        Light(azimuth_degrees=150.0, elevation_degrees=15.0, strength=0.1),
    )


class PointRigSettings(LitRigSettings):
    """What every rig says that photographs points: each as a small disc in its tangent plane."""

    visibility: CloudVisibility = CloudVisibility()
    splat_size: float = Field(default=0.8, ge=0.1, le=3.0)
    """Radius of a disc, in local spacings of the points. Larger ones close holes and thicken what is thin."""
    num_neighbours: int = Field(default=8, ge=3, le=64)
    """Neighbours that tell the local spacing and, where the source has no normals, the tangent plane."""
    max_points: int = Field(default=65536, ge=16, le=1048576)
    """At most so many points of a cloud are drawn: a random choice, seeded by the shape's id."""
    draws: ClassVar[Literal["meshes", "points"]] = "points"
