"""List the systems that can be trained."""

from __future__ import annotations

import typer
from rich.table import Column, Table

from training.commands.options import guarded
from training.commands.output import OUT, plain
from training.networks.registry import SYSTEMS
from training.networks.table_systems import TABLE_SYSTEMS

app = typer.Typer()


@app.command()
@guarded
def systems() -> None:
    """List the systems that `network.system` of a configuration can name.

    Example: `osteo-train systems`
    """
    narrow = (Column(name, no_wrap=True) for name in ("system", "parameters", "side"))
    table = Table(*narrow, "source; weights; in the seed paper")
    for system in SYSTEMS.values():
        facts = (
            system.reference,
            system.note,
            ("ImageNet, " if system.is_pretrained else "") + system.licence,
            system.paper,
            "has an int8 file" if system.has_int8 else "",
        )
        table.add_row(
            system.name,
            f"{system.n_parameters / 1e6:.1f} M",
            f"{system.side_px} px",
            plain("; ".join(filter(None, facts))),
        )
    for table_system in TABLE_SYSTEMS.values():
        table.add_row(
            table_system.name,
            "",
            "no pixels",
            plain(
                f"reads {table_system.reads} of the collection's feature table, CC BY 3.0; "
                "cannot be exported"
            ),
        )
    OUT.print(table)
