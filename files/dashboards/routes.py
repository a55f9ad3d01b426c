"""Routes: how requests fare on each, from the ingress to the databases."""

from __future__ import annotations

from dashboards.model import Dashboard, Kind, Panel, promql, promql_now

CPU_TARGET = 0.5  # scale.cpu_percent of the routes in group_vars/all/workloads.yml
MOST = 3  # scale.max of the same
SLOW_S = 0.5  # slo_p99_ms of roles/settings/defaults/main/load_test.yml
FAILING = 0.01  # slo_failure_ratio of the same

DASHBOARD = Dashboard(
    uid="courseload-routes",
    title="Routes",
    text="How requests fare on each route, and what group commit makes of them.",
    since="15m",
    refresh="5s",
    rows={
        "As clients see it": [
            Panel(
                title="Requests a second",
                kind=Kind.FIGURE,
                unit="reqps",
                text="At the ingress.",
                width=6,
                height=4,
                queries=[promql_now("ingress:requests:rate30s", "requests")],
            ),
            Panel(
                title="Failed",
                kind=Kind.FIGURE,
                unit="percentunit",
                decimals=2,
                text="Requests that the ingress answered with a 5xx. Nothing while there are no requests.",
                width=6,
                height=4,
                queries=[promql_now("ingress:errors:ratio30s", "failed")],
                limits=[(FAILING, "red")],
            ),
            Panel(
                title="Route",
                kind=Kind.FIGURE,
                unit="none",
                text="Whether its service and its databases answer: in a cluster, of at least one replica.",
                width=6,
                height=4,
                queries=[promql_now("route:ready:min", "{{route}}")],
                words={0: ("lost", "red"), 1: ("ready", "green")},
            ),
            Panel(
                title="Replicas",
                kind=Kind.FIGURE,
                unit="none",
                text="Those of which Prometheus gets figures: one of each where everything is on one machine.",
                width=6,
                height=4,
                queries=[promql_now('count by (route) (up{route!=""} == 1)', "{{route}}")],
            ),
        ],
        "Requests": [
            Panel(
                title="Requests a second",
                kind=Kind.LINES,
                unit="reqps",
                text="Whatever their answer.",
                queries=[promql("route:requests:rate30s", "{{route}}")],
            ),
            Panel(
                title="Split",
                kind=Kind.SHARES,
                unit="percentunit",
                text="What share of the requests each route took. The weights are the setting routes.",
                queries=[promql("route:share:ratio30s", "{{route}}")],
            ),
            Panel(
                title="Errors",
                kind=Kind.LINES,
                unit="percentunit",
                text="Requests that a route answered with a 5xx. The line is the objective of the load test.",
                queries=[promql("route:errors:ratio30s", "{{route}}")],
                limits=[(FAILING, "red")],
            ),
            Panel(
                title="Answers a second, by status",
                kind=Kind.LINES,
                unit="reqps",
                text="201 is a stored note, 400 the client's fault, 503 an overload or a database that is unavailable.",
                queries=[
                    promql(
                        'sum by (route, status) (rate(courseload_requests_total{route!=""}[$__rate_interval]))',
                        "{{route}} {{status}}",
                    )
                ],
            ),
            Panel(
                title="Latency, half and 95 % of the requests",
                kind=Kind.LINES,
                unit="s",
                text="Within the service, from a request's arrival to its answer.",
                queries=[
                    promql('route:request_seconds:quantile30s{quantile="0.5"}', "{{route}}, half"),
                    promql('route:request_seconds:quantile30s{quantile="0.95"}', "{{route}}, 95 %"),
                ],
            ),
            Panel(
                title="Latency, 99 % of the requests",
                kind=Kind.LINES,
                unit="s",
                text="Within the service. The line is the load test's objective, which counts from outside.",
                queries=[promql('route:request_seconds:quantile30s{quantile="0.99"}', "{{route}}")],
                limits=[(SLOW_S, "red")],
            ),
        ],
        "Group commit": [
            Panel(
                title="Queue",
                kind=Kind.LINES,
                unit="short",
                text="Notes that wait for a write. When it is full, the service answers 503.",
                queries=[promql("sum by (workload) (courseload_queue_notes)", "{{workload}}")],
            ),
            Panel(
                title="Batch",
                kind=Kind.LINES,
                unit="short",
                text="Notes that one write carries, on average.",
                queries=[promql("workload:batch_notes:mean30s", "{{workload}}")],
            ),
            Panel(
                title="Writes under way",
                kind=Kind.LINES,
                unit="short",
                text="More than a few at once would only make each slower.",
                queries=[promql("sum by (workload) (courseload_writes_in_flight)", "{{workload}}")],
            ),
            Panel(
                title="A write takes, 99 %",
                kind=Kind.LINES,
                unit="s",
                text="From its start to its acknowledgement, its databases included.",
                queries=[promql("workload:write_seconds:p99_30s", "{{workload}}")],
            ),
            Panel(
                title="A database takes, 99 %",
                kind=Kind.LINES,
                unit="s",
                text="To answer a write, as the service that asks it finds.",
                queries=[promql("workload_database:seconds:p99_30s", "{{workload}} to {{database}}")],
            ),
            Panel(
                title="Tried again, and given up",
                kind=Kind.LINES,
                unit="cps",
                text="Writes that were repeated, and notes that were not stored: both are 0 on a good day.",
                queries=[
                    promql(
                        "sum by (workload) (rate(courseload_write_retries_total[$__rate_interval]))",
                        "{{workload}}: writes tried again",
                    ),
                    promql(
                        "sum by (workload) (rate(courseload_write_errors_total[$__rate_interval]))",
                        "{{workload}}: notes not stored",
                    ),
                ],
            ),
        ],
        "What it costs": [
            Panel(
                title="CPU, of what it asks for",
                kind=Kind.LINES,
                width=12,
                unit="percentunit",
                text="Of the CPU that each replica asks for. In a cluster another one comes above the line.",
                queries=[promql("route:cpu_of_request:ratio30s", "{{route}}")],
                limits=[(CPU_TARGET, "orange")],
            ),
            Panel(
                title="CPU",
                kind=Kind.LINES,
                width=12,
                unit="none",
                decimals=2,
                text="Cores that are busy. Python keeps one busy at most.",
                queries=[promql("workload:cpu_cores:rate30s", "{{workload}}")],
            ),
            Panel(
                title="Memory",
                kind=Kind.LINES,
                width=12,
                unit="bytes",
                text="What the processes hold.",
                queries=[promql("workload:memory_bytes:sum", "{{workload}}")],
            ),
            Panel(
                title="Replicas",
                kind=Kind.LINES,
                width=12,
                unit="none",
                text="Those of which Prometheus gets figures. The line is how many there may be in a cluster.",
                queries=[promql('workload:replicas:count{workload=~"relay|direct"}', "{{workload}}")],
                limits=[(MOST, "orange")],
            ),
        ],
    },
)
