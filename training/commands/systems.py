"""List the systems that can be trained."""

from __future__ import annotations

import typer
from rich.table import Table

from training.commands.options import guarded
from training.commands.output import OUT
from training.networks.registry import SYSTEMS

app = typer.Typer()


@app.command()
@guarded
def systems() -> None:
    """List the systems that `network.system` of a configuration can name.

    Example: `osteo-train systems`
    """
    table = Table("system", "parameters", "side", "source", "weights", "bundle", "in the paper")
    for system in SYSTEMS.values():
        table.add_row(
            system.name,
            f"{system.n_parameters / 1e6:.1f} M",
            f"{system.side_px} px",
            system.reference + (f"; {system.note}" if system.note else ""),
            ("ImageNet, " if system.is_pretrained else "") + system.licence,
            "yes, with int8" if system.has_int8 else "yes",
            system.paper,
        )
    OUT.print(table)
