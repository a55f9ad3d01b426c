"""Load test: what the load generator sees while it runs; the report that it leaves says more."""

from __future__ import annotations

from dashboards.model import Dashboard, Kind, Need, Panel, promql, promql_now
from dashboards.routes import FAILING, SLOW_S

DASHBOARD = Dashboard(
    uid="courseload-load-test",
    title="Load test",
    text="What the load generator sees while a load test runs. The verdict is in the report that it leaves.",
    since="15m",
    refresh="5s",
    rows={
        "Now": [
            Panel(
                title="Users",
                kind=Kind.FIGURE,
                unit="short",
                text="Who post notes just now.",
                width=6,
                height=4,
                queries=[promql_now("sum(loadtest_users)", "users")],
                needs=Need.RUNNING_TEST,
            ),
            Panel(
                title="Requests a second",
                kind=Kind.FIGURE,
                unit="reqps",
                text="That were answered.",
                width=6,
                height=4,
                queries=[promql_now("sum(rate(loadtest_request_seconds_count[30s]))", "requests")],
                needs=Need.RUNNING_TEST,
            ),
            Panel(
                title="Failed",
                kind=Kind.FIGURE,
                unit="percentunit",
                decimals=2,
                text="Of the requests of the last half minute.",
                width=6,
                height=4,
                queries=[
                    promql_now(
                        "sum(rate(loadtest_failures_total[30s]))"
                        " / (sum(rate(loadtest_request_seconds_count[30s])) > 0)",
                        "failed",
                    )
                ],
                limits=[(FAILING, "red")],
                needs=Need.RUNNING_TEST,
            ),
            Panel(
                title="Workers",
                kind=Kind.FIGURE,
                unit="none",
                text="Processes that send the load, and those that have fallen silent.",
                width=6,
                height=4,
                queries=[promql_now("sum by (state) (loadtest_workers)", "{{state}}")],
                needs=Need.RUNNING_TEST,
            ),
        ],
        "Over time": [
            Panel(
                title="Users",
                kind=Kind.LINES,
                unit="short",
                text="Who post notes, and how many were asked for.",
                queries=[
                    promql("sum(loadtest_users)", "users"),
                    promql("sum(loadtest_users_wanted)", "asked for"),
                ],
                needs=Need.LOAD_TEST,
            ),
            Panel(
                title="Requests a second",
                kind=Kind.LINES,
                unit="reqps",
                text="By the route that answered.",
                queries=[
                    promql("sum by (route) (rate(loadtest_request_seconds_count[$__rate_interval]))", "{{route}}")
                ],
                needs=Need.LOAD_TEST,
            ),
            Panel(
                title="Latency",
                kind=Kind.LINES,
                unit="s",
                text="From when a request should have started. The line is the objective for 99 % of them.",
                queries=[
                    promql(
                        f"histogram_quantile({share}, "
                        "sum by (le) (rate(loadtest_request_seconds_bucket[$__rate_interval])))",
                        f"{share:.0%} of the requests",
                    )
                    for share in (0.5, 0.95, 0.99)
                ],
                limits=[(SLOW_S, "red")],
                needs=Need.LOAD_TEST,
            ),
            Panel(
                title="Failures a second",
                kind=Kind.LINES,
                unit="reqps",
                text="Requests without an acknowledgement.",
                queries=[promql("sum(rate(loadtest_failures_total[$__rate_interval]))", "failed")],
                needs=Need.LOAD_TEST,
            ),
            Panel(
                title="Busiest worker",
                kind=Kind.LINES,
                unit="percentunit",
                text="Of one core, at its busiest so far. Above the line it is the worker that limits the test.",
                queries=[promql("max(loadtest_worker_busiest_cpu_ratio)", "busiest worker")],
                limits=[(0.9, "red")],
                needs=Need.LOAD_TEST,
            ),
            Panel(
                title="The hosts",
                kind=Kind.LINES,
                unit="percentunit",
                text="Where everything is on one machine, the generator and the system share it.",
                highest=1,
                queries=[
                    promql("host:cpu_used:ratio30s", "{{host}}: CPU"),
                    promql("host:memory_used:ratio", "{{host}}: memory"),
                ],
            ),
        ],
    },
)
