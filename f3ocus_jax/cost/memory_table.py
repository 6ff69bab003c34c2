"""`python -m f3ocus_jax.cost.memory_table`: memory of the published models, as a Markdown table.

docs/memory.md is the output of this command; a test compares them.
"""

from f3ocus_jax.cost import memory_plan
from f3ocus_jax.cost.memory_plan import GIBIBYTE, MACHINES, Machine, MemoryPlan, Workload
from f3ocus_jax.models import published
from f3ocus_jax.models.published import PUBLISHED

MEBIBYTE = 2**20
LARGE = 1_000_000_000
"""Number of parameters from which a model is held in bfloat16 and gets a smaller batch."""

ABOUT = f"""# Memory of a federation

Output of `python -m f3ocus_jax.cost.memory_table`, computed from shapes alone: no model is created.
Each client trains four adapter layers of bottleneck 48 with AdamW, on questions of 40 tokens.
Frozen parameters are float32, or bfloat16 for models of {LARGE:,} parameters or more; trained
parameters are float32. "Server" is all adapters and the answer head; "client" is the trained
parameters of one client, their gradient and their optimizer state. Activations are those of one
training step with the given batch size, and grow with it. The columns of machines give the number
of such clients that fit together and, in brackets, the largest batch of a single client;
{memory_plan.RESERVE:.0%} of each device is left free. Where a machine has several devices, the
second bracket is the largest batch with the frozen parameters sharded over them.
"""


def make_page() -> str:
    """Returns the page in Markdown."""
    heads = [
        "model",
        "parameters, with adapters and head",
        "frozen GiB",
        "server MiB",
        "client MiB",
        "batch",
        "activations GiB",
        *(_machine(machine) for machine in MACHINES),
    ]
    lines = [ABOUT, _line(heads), _line(["---"] * len(heads))]
    lines += [_line(_row(name, plan_published(name))) for name in sorted(PUBLISHED)]
    return "\n".join(lines) + "\n"


def plan_published(name: str) -> MemoryPlan:
    """Returns the memory plan of a published model under the table's workload.

    Args:
      name: Key of `PUBLISHED`.
    """
    family, model = PUBLISHED[name]
    is_large = model.parameters >= LARGE
    workload = Workload(
        batch_size=2 if is_large else 32, dtype="bfloat16" if is_large else "float32"
    )
    spec = published.make_spec(name, adapter_size=workload.adapter_size)
    return memory_plan.plan_memory(spec, family.make_model, workload)


def _row(name: str, plan: MemoryPlan) -> list[str]:
    return [
        f"`{name}`",
        f"{plan.parameters:,}",
        f"{plan.frozen / GIBIBYTE:.2f}",
        f"{plan.server / MEBIBYTE:.1f}",
        f"{plan.client / MEBIBYTE:.1f}",
        str(plan.batch_size),
        f"{plan.activations / GIBIBYTE:.2f}",
        *(_fit(plan, machine) for machine in MACHINES),
    ]


def _fit(plan: MemoryPlan, machine: Machine) -> str:
    text = f"{plan.clients(machine)} ({plan.largest_batch(machine)})"
    if machine.devices > 1:
        text += f" ({plan.largest_batch(machine, sharded=True)})"
    return text


def _machine(machine: Machine) -> str:
    count = f"{machine.devices} × " if machine.devices > 1 else ""
    return f"{machine.name}, {count}{machine.device_bytes // GIBIBYTE} GiB"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    print(make_page(), end="")
