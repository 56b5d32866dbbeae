"""What blocks of made data have in common: sizes of splits, the rooms, and the depth sensor that looks at them."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from pointlift.contracts.settings import Settings


class SplitSettings(Settings):
    """Sizes of the splits (of shapes: within each class), as counts or as shares: only their proportions matter."""

    train: float = Field(default=0.6, ge=0.0)
    val: float = Field(default=0.1, ge=0.0)
    test: float = Field(default=0.3, ge=0.0)

    @model_validator(mode="after")
    def _some(self) -> SplitSettings:
        if self.train + self.val + self.test <= 0:
            raise ValueError("at least one of train, val, test must be above 0")
        return self


class SensorSettings(Settings):
    """A depth camera: its picture, and in what it errs. Lengths are metres."""

    width: int = Field(default=80, ge=8, le=1280)
    height: int = Field(default=60, ge=8, le=1280)
    """Pixels; each gives at most one point."""
    field_of_view_degrees: float = Field(default=70.0, gt=10.0, lt=120.0)
    """From the left edge of the picture to the right one."""
    noise: float = Field(default=0.0015, ge=0.0, le=0.05)
    """Standard deviation of a depth of 1 m; it grows with the square of the depth. The default comes to 4 cm at 5 m."""
    missing: float = Field(default=0.02, ge=0.0, lt=1.0)
    """Share of the returns that are lost anywhere in the picture."""
    grazing_degrees: float = Field(default=8.0, ge=0.0, lt=90.0)
    """Surfaces that a ray meets at less than this angle give no return."""
    farthest: float = Field(default=8.0, gt=0.5, le=100.0)
    """Depths beyond this give no return."""


class RoomSettings(Settings):
    """What blocks of made rooms say. Blocks with different ``series`` have no room in common; with one series and one
    seed, rooms of equal number and layout are the same rooms, whatever kind of block asks for them."""

    series: str = Field(pattern=r"^[a-z][a-z0-9]*$")
    num_rooms: int = Field(default=40, ge=1, le=99999)
    num_frames: int = Field(default=4, ge=1, le=64)
    """Pictures of each room; frame k is the same one however many there are."""
    classes: tuple[
        Literal["bed", "bench", "cabinet", "chair", "desk", "lamp", "shelf", "sofa", "stool", "table"], ...
    ] = ()  # fmt: skip
    """Which furniture; none named: all of it."""
    max_objects: int = Field(default=12, ge=1, le=64)
    """Most pieces of furniture in a room; small rooms hold fewer."""
    max_clutter: int = Field(default=2, ge=0, le=8)
    """Most cups, bottles, teapots and vases on a table or desk; 0: none, and no class ``clutter``."""
    ceiling: bool = False
    """Scans of rooms seldom show it; with it, it is a class of its own."""
    rotation: Literal["none", "up"] = "none"
    """none: the walls run along x and y, as in ScanNet. up: each room is turned about the up axis by a random angle."""
    splits: SplitSettings = SplitSettings()
    """Of rooms: all frames of a room are in one split."""
    sensor: SensorSettings = SensorSettings()
    colour: bool = True
    """Points have the colour that the camera sees, or none."""
    min_box_points: int = Field(default=20, ge=1)
    """An object of which fewer points are seen has no box."""
    listing: ClassVar[tuple[str, ...]] = ("num_rooms",)

    def _scan_name(self) -> str:
        """What was seen of which rooms, as it stands in the protocol: 4x80x60, 4x80x60-ceiling-turned-colourless."""
        words = (
            ["-ceiling"] * self.ceiling + ["-turned"] * (self.rotation == "up") + ["-colourless"] * (not self.colour)
        )
        return f"{self.num_frames}x{self.sensor.width}x{self.sensor.height}{''.join(words)}"
