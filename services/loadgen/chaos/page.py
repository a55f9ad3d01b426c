"""The page of what survives, which needs nothing beside it, the data behind it, and JUnit XML for CI."""

from pathlib import Path

import msgspec

from loadgen.chaos.result import Chaos, Trial
from loadgen.charts import STYLES, Drawn, Line, Span, over_time
from loadgen.junit import Judged, junit_xml
from loadgen.pages import template
from loadgen.settings import write_csv, write_json
from loadgen.verdict import Judgement

_COLUMNS = (
    *("fault", "verdict", "proven", "requests", "failures", "first_failure_s", "last_failure_s", "recovered_s"),
    *("silent_s", "p99_ms", "usual_p99_ms", "lost", "doubled", "replicas"),
)


def read_chaos(directory: Path) -> Chaos | None:
    """What was tried so far; None where nothing was."""
    file = directory / "chaos.json"
    return msgspec.json.decode(file.read_bytes(), type=Chaos) if file.exists() else None


def write_chaos(directory: Path, chaos: Chaos) -> None:
    """Writes all files into the directory."""
    write_json(directory / "chaos.json", chaos)
    write_csv(directory / "faults.csv", _COLUMNS, map(_row, chaos.worst_first))
    (directory / "chaos.html").write_text(render(chaos), encoding="utf-8")
    judged = Judged("chaos", chaos.started_at, chaos.seconds)
    judgements = [Judgement("faults", f"{trial.says} ({trial.name})", trial.why) for trial in chaos.trials]
    (directory / "junit.xml").write_bytes(junit_xml(judged, judgements))


def render(chaos: Chaos) -> str:
    """What survives as one HTML page."""
    return template("chaos.html.j2").render(
        chaos=chaos,
        settings=chaos.settings,
        machine=chaos.machine,
        replicas=_replicas,
        charts=list(map(_chart, chaos.trials)),
    )


def _row(trial: Trial) -> tuple[object, ...]:
    cells = (
        *(trial.name, trial.verdict, all(fault.proven for fault in trial.faults), trial.requests, trial.failures),
        *(trial.first_failure_s, trial.last_failure_s, trial.recovered_s, trial.silent_s),
        *(trial.p99_ms, trial.usual_p99_ms, trial.lost, trial.doubled, _replicas(trial)),
    )
    return tuple("" if cell is None else cell for cell in cells)


def _replicas(trial: Trial) -> str:
    """How many there were of each workload, where that was not one of each all the time: `relay 1 to 3, direct 1`."""
    return ", ".join(
        f"{name} {fewest}" + (f" to {most}" if most != fewest else "")
        for name, (fewest, most) in trial.replicas.items()
    )


def _chart(trial: Trial) -> Drawn:
    """Answers and failures a second, with the time of each fault behind them; the last second is not a whole one."""
    rows = trial.seconds[1:-1]
    good = Line("acknowledged", STYLES[0], [(row.second, row.requests - row.failures) for row in rows])
    bad = Line("failed", "line-failures", [(row.second, row.failures) for row in rows])
    start = min((fault.began for fault in trial.faults if not fault.skipped), default=0.0)
    spans = [
        Span(trial.began + fault.began - start, trial.began + fault.ended - start)
        for fault in trial.faults
        if not fault.skipped
    ]
    return Drawn(trial.name, f"{trial.says}.", over_time(trial.name, "requests/s", [good, bad], spans))
