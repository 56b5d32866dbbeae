"""The families of procedural shapes by class name, and the parts each of them can have."""

from __future__ import annotations

from collections.abc import Callable

from pointlift.datasets import aircraft, cabinetry, seats, vessels
from pointlift.datasets.assembly import Assembly, Draw

Family = Callable[[Draw], Assembly]

FAMILIES: dict[str, Family] = {
    family.__name__: family
    for family in (
        aircraft.airplane,
        seats.bed,
        seats.bench,
        vessels.bottle,
        cabinetry.cabinet,
        seats.chair,
        vessels.cup,
        cabinetry.desk,
        aircraft.helicopter,
        cabinetry.lamp,
        cabinetry.shelf,
        seats.sofa,
        seats.stool,
        cabinetry.table,
        vessels.teapot,
        vessels.vase,
    )
}

_FRAME = "leg stretcher"
_PEDESTAL = "base caster post"
_BACK = "arm back back_post slat spindle"

_PARTS: dict[str, str] = {
    "airplane": "engine fin fuselage propeller strut tailplane wing",
    "bed": "back back_post bedpost footboard frame leg mattress pillow slat spindle stretcher",
    "bench": f"seat side_panel {_FRAME} {_BACK}",
    "bottle": "body cap handle neck",
    "cabinet": "body door drawer handle leg stretcher top",
    "chair": f"cushion seat {_FRAME} {_PEDESTAL} {_BACK}",
    "cup": "body handle rim saucer stem",
    "desk": "back_panel body drawer handle leg shelf_board side_panel stretcher top",
    "helicopter": "fin fuselage mast rotor_blade skid strut tail_boom tail_rotor tailplane wheel",
    "lamp": "base bulb leg post shade",
    "shelf": "back_panel divider post shelf_board side_panel",
    "sofa": "arm back chaise cushion frame leg stretcher",
    "stool": f"back foot_ring seat {_FRAME} {_PEDESTAL}",
    "table": f"apron shelf_board side_panel top {_FRAME} {_PEDESTAL}",
    "teapot": "body foot handle knob lid spout",
    "vase": "body foot handle rim",
}

#: "<class>/<part>", sorted: parts of different classes are different labels.
PART_NAMES: tuple[str, ...] = tuple(
    sorted(f"{name}/{part}" for name, parts in _PARTS.items() for part in set(parts.split()))
)
