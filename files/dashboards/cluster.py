"""Cluster: what everything runs on, from the host to the mesh."""

from __future__ import annotations

from dashboards.model import Dashboard, Kind, Need, Panel, promql, promql_now, promql_table

KUBELET_STEP = "10s"  # a kubelet measures about that often
MESH_STEP = "15s"  # so that a rate is over a minute: a proxy may see few requests
DAY_S = 86400

DASHBOARD = Dashboard(
    uid="courseload-cluster",
    title="Cluster",
    text="What everything runs on: the host, the workloads, the databases; nodes, pods and mesh of a cluster.",
    since="30m",
    refresh="10s",
    # On one machine there is nothing in them.
    collapsed=["Nodes and pods", "Mesh"],
    rows={
        "What Prometheus sees": [
            Panel(
                title="Scraped",
                kind=Kind.FIGURE,
                unit="none",
                text="Whether Prometheus gets its figures. A target may be unavailable and its workload not.",
                width=12,
                height=6,
                queries=[promql_now("min by (workload) (up)", "{{workload}}")],
                words={0: ("unavailable", "red"), 1: ("scraped", "green")},
            ),
            Panel(
                title="Alerts",
                kind=Kind.TABLE,
                unit="string",
                text="That fire. What to do is said at /classic/alerts of Prometheus.",
                width=12,
                height=6,
                queries=[
                    promql_table(
                        'max without (alertstate) (ALERTS{alertstate="firing"})'
                        ' or on () label_replace(vector(0), "alertname", "none", "", "")'
                    )
                ],
                shows=["alertname", "severity"],
                hides=["Time", "Value"],
                names={"alertname": "alert"},
            ),
        ],
        "Hosts": [
            Panel(
                title="CPU",
                kind=Kind.LINES,
                unit="percentunit",
                text="Of all cores: of the host of Prometheus, and of the nodes of a cluster.",
                highest=1,
                queries=[promql("host:cpu_used:ratio30s", "{{host}}")],
            ),
            Panel(
                title="Memory",
                kind=Kind.LINES,
                unit="percentunit",
                text="What is not available to whoever asks for more.",
                highest=1,
                queries=[promql("host:memory_used:ratio", "{{host}}")],
            ),
            Panel(
                title="Disk",
                kind=Kind.LINES,
                unit="percentunit",
                text="The file system of the volumes; of a node, the fullest.",
                highest=1,
                queries=[promql("host:disk_used:ratio", "{{host}}")],
                limits=[(0.9, "red")],
            ),
        ],
        "Workloads": [
            Panel(
                title="CPU",
                kind=Kind.LINES,
                unit="none",
                decimals=2,
                text="Cores that are busy: in a cluster those of all pods; elsewhere of what tells its figures.",
                width=12,
                queries=[promql("workload:cpu_cores:rate30s", "{{workload}}")],
            ),
            Panel(
                title="Memory",
                kind=Kind.LINES,
                unit="bytes",
                text="What cannot be taken back from the pods of a cluster; elsewhere what processes tell.",
                width=12,
                queries=[promql("workload:memory_bytes:sum", "{{workload}}")],
            ),
        ],
        "Databases": [
            Panel(
                title="Redis: memory",
                kind=Kind.LINES,
                unit="bytes",
                text="At its limit it refuses notes, and the direct route answers 503.",
                queries=[
                    promql("redis_memory_used_bytes", "used"),
                    promql("redis_memory_max_bytes", "limit"),
                ],
            ),
            Panel(
                title="Redis: commands a second",
                kind=Kind.LINES,
                unit="ops",
                text="One carries a whole batch of notes.",
                queries=[promql("sum(rate(redis_commands_processed_total[$__rate_interval]))", "commands")],
            ),
            Panel(
                title="Redis: clients",
                kind=Kind.LINES,
                unit="short",
                text="Connections.",
                queries=[promql("redis_connected_clients", "clients")],
            ),
            Panel(
                title="PostgreSQL: transactions a second",
                kind=Kind.LINES,
                unit="ops",
                text="One carries a whole batch of notes.",
                queries=[
                    promql(f'sum(rate(pg_stat_database_xact_{what}{{datname="postgres"}}[$__rate_interval]))', legend)
                    for what, legend in (("commit", "committed"), ("rollback", "rolled back"))
                ],
                needs=Need.POSTGRESQL,
            ),
            Panel(
                title="PostgreSQL: rows written a second",
                kind=Kind.LINES,
                unit="ops",
                text="A note is a row.",
                queries=[
                    promql('sum(rate(pg_stat_database_tup_inserted{datname="postgres"}[$__rate_interval]))', "rows")
                ],
                needs=Need.POSTGRESQL,
            ),
            Panel(
                title="PostgreSQL: size",
                kind=Kind.LINES,
                unit="bytes",
                text="What the notes take on the disk.",
                queries=[promql('pg_database_size_bytes{datname="postgres"}', "notes")],
                needs=Need.POSTGRESQL,
            ),
        ],
        "Nodes and pods": [
            Panel(
                title="Nodes",
                kind=Kind.FIGURE,
                unit="none",
                text="Whether their kubelets answer.",
                queries=[promql_now('min by (host) (up{job="kubelet"})', "{{host}}")],
                words={0: ("unavailable", "red"), 1: ("there", "green")},
                needs=Need.KUBERNETES,
            ),
            Panel(
                title="Pods",
                kind=Kind.LINES,
                unit="short",
                text="Of the system, by workload: those that tell their figures.",
                queries=[promql('workload:replicas:count{workload!~"kubelet|linkerd.*"}', "{{workload}}")],
                needs=Need.KUBERNETES,
            ),
            Panel(
                title="Restarts in ten minutes",
                kind=Kind.LINES,
                unit="short",
                text="Of containers of the system.",
                queries=[
                    promql(
                        'sum by (workload) (changes(container_start_time_seconds{workload!="kubelet", pod!=""}[10m]))',
                        "{{workload}}",
                    )
                ],
                needs=Need.KUBERNETES,
            ),
            Panel(
                title="CPU of the pods",
                kind=Kind.LINES,
                unit="none",
                width=12,
                decimals=2,
                text="Cores that are busy, proxies included.",
                queries=[
                    promql(
                        'sum by (pod) (rate(container_cpu_usage_seconds_total{workload!="kubelet"}[$__rate_interval]))',
                        "{{pod}}",
                        KUBELET_STEP,
                    )
                ],
                needs=Need.KUBERNETES,
            ),
            Panel(
                title="Memory of the pods",
                kind=Kind.LINES,
                unit="bytes",
                width=12,
                text="What cannot be taken back from them.",
                queries=[promql('sum by (pod) (container_memory_working_set_bytes{workload!="kubelet"})', "{{pod}}")],
                needs=Need.KUBERNETES,
            ),
        ],
        "Mesh": [
            Panel(
                title="Split",
                kind=Kind.SHARES,
                unit="reqps",
                text="How the proxies of the ingress share the requests.",
                queries=[
                    promql(
                        "sum by (backend_name) "
                        '(rate(outbound_http_route_backend_requests_total{parent_name="course"}[$__rate_interval]))',
                        "{{backend_name}}",
                        MESH_STEP,
                    )
                ],
                needs=Need.MESH,
            ),
            Panel(
                title="Answered well",
                kind=Kind.LINES,
                unit="percentunit",
                highest=1,
                text="Of the requests that came to the proxy of a workload.",
                queries=[
                    promql(
                        "sum by (proxied) "
                        '(rate(response_total{direction="inbound", classification="success"}[$__rate_interval]))'
                        ' / sum by (proxied) (rate(response_total{direction="inbound"}[$__rate_interval]))',
                        "{{proxied}}",
                        MESH_STEP,
                    )
                ],
                needs=Need.MESH,
            ),
            Panel(
                title="Latency, 99 %",
                kind=Kind.LINES,
                unit="ms",
                text="From a request's arrival at the proxy of a workload to its answer.",
                queries=[
                    promql(
                        "histogram_quantile(0.99, sum by (proxied, le) "
                        '(rate(response_latency_ms_bucket{direction="inbound"}[$__rate_interval])))',
                        "{{proxied}}",
                        MESH_STEP,
                    )
                ],
                needs=Need.MESH,
            ),
            Panel(
                title="Without mutual TLS",
                kind=Kind.LINES,
                unit="reqps",
                text="Requests that came to the proxy of a workload from nobody that it knows: the nodes' probes.",
                queries=[
                    promql(
                        'sum by (proxied) (rate(request_total{direction="inbound", tls!="true"}[$__rate_interval]))',
                        "{{proxied}}",
                        MESH_STEP,
                    )
                ],
                needs=Need.MESH,
            ),
            Panel(
                title="Certificates",
                kind=Kind.FIGURE,
                unit="s",
                text="How long those of the mesh are still good for, as of the last run of site.yml.",
                width=16,
                queries=[promql_now("min by (certificate) (mesh:certificate_end_seconds) - time()", "{{certificate}}")],
                # Below 30 days an alert fires as well.
                colour="red",
                limits=[(7 * DAY_S, "orange"), (30 * DAY_S, "green")],
                needs=Need.MESH,
            ),
        ],
    },
)
