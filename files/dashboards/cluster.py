"""Cluster: what everything runs on, from the host to the mesh."""

from __future__ import annotations

from dashboards.model import Dashboard, Kind, Need, Panel, promql

OURS = 'namespace=~"courseload|ingress"'  # cluster_namespace and ingress_namespace of group_vars/all/cluster.yml

DASHBOARD = Dashboard(
    uid="courseload-cluster",
    title="Cluster",
    text="What everything runs on: the host, the workloads, the databases; nodes, pods and mesh of a cluster.",
    since="30m",
    refresh="10s",
    rows={
        "What Prometheus sees": [
            Panel(
                title="Looked at",
                kind=Kind.FIGURE,
                unit="none",
                text="Whether Prometheus gets its figures. A target may be away without its workload.",
                width=16,
                height=5,
                queries=[promql("min by (workload) (up)", "{{workload}}")],
                words={0: ("away", "red"), 1: ("seen", "green")},
            ),
            Panel(
                title="Alerts",
                kind=Kind.FIGURE,
                unit="none",
                text="That fire. Which they are is said at /classic/alerts of Prometheus.",
                height=5,
                queries=[promql('count(ALERTS{alertstate="firing"}) or vector(0)', "firing")],
                limits=[(1, "red")],
            ),
        ],
        "The host of Prometheus": [
            Panel(
                title="CPU",
                kind=Kind.LINES,
                unit="percentunit",
                text="Of all its cores.",
                highest=1,
                queries=[promql("host:cpu_used:ratio30s", "busy")],
            ),
            Panel(
                title="Memory",
                kind=Kind.LINES,
                unit="percentunit",
                text="What is not available to whoever asks for more.",
                highest=1,
                queries=[promql("host:memory_used:ratio", "used")],
            ),
            Panel(
                title="Disk",
                kind=Kind.LINES,
                unit="percentunit",
                text="The file system of the volumes.",
                highest=1,
                queries=[promql("host:disk_used:ratio", "used")],
                limits=[(0.9, "red")],
            ),
        ],
        "Workloads": [
            Panel(
                title="CPU",
                kind=Kind.LINES,
                unit="none",
                decimals=2,
                text="Cores that are busy, of what tells its own figures. The databases' are their exporters'.",
                width=12,
                queries=[promql("workload:cpu_cores:rate30s", "{{workload}}")],
            ),
            Panel(
                title="Memory",
                kind=Kind.LINES,
                unit="bytes",
                text="What the processes hold, of what tells its own figures.",
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
                queries=[promql("sum(rate(redis_commands_processed_total[30s]))", "commands")],
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
                    promql('sum(rate(pg_stat_database_xact_commit{datname="postgres"}[30s]))', "committed"),
                    promql('sum(rate(pg_stat_database_xact_rollback{datname="postgres"}[30s]))', "rolled back"),
                ],
                needs=Need.POSTGRESQL,
            ),
            Panel(
                title="PostgreSQL: rows written a second",
                kind=Kind.LINES,
                unit="ops",
                text="A note is a row.",
                queries=[promql('sum(rate(pg_stat_database_tup_inserted{datname="postgres"}[30s]))', "rows")],
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
                text="Whether Kubernetes finds them ready.",
                queries=[
                    promql('max by (node) (kube_node_status_condition{condition="Ready", status="true"})', "{{node}}")
                ],
                words={0: ("not ready", "red"), 1: ("ready", "green")},
                needs=Need.KUBERNETES,
            ),
            Panel(
                title="Pods",
                kind=Kind.LINES,
                unit="short",
                text="Of the system, by what they do.",
                queries=[promql(f"sum by (phase) (kube_pod_status_phase{{{OURS}}}) > 0", "{{phase}}")],
                needs=Need.KUBERNETES,
            ),
            Panel(
                title="Restarts in ten minutes",
                kind=Kind.LINES,
                unit="short",
                text="Of containers of the system.",
                queries=[
                    promql(
                        f"sum by (pod) (increase(kube_pod_container_status_restarts_total{{{OURS}}}[10m]))",
                        "{{pod}}",
                    )
                ],
                needs=Need.KUBERNETES,
            ),
            Panel(
                title="CPU of the nodes",
                kind=Kind.LINES,
                unit="none",
                decimals=2,
                text="Cores that are busy with containers.",
                queries=[promql('sum by (node) (rate(container_cpu_usage_seconds_total{id="/"}[1m]))', "{{node}}")],
                needs=Need.KUBERNETES,
            ),
            Panel(
                title="CPU of the pods",
                kind=Kind.LINES,
                unit="none",
                decimals=2,
                text="Cores that are busy, proxies included.",
                queries=[
                    promql(
                        f'sum by (pod) (rate(container_cpu_usage_seconds_total{{{OURS}, container!=""}}[1m]))',
                        "{{pod}}",
                    )
                ],
                needs=Need.KUBERNETES,
            ),
            Panel(
                title="Memory of the pods",
                kind=Kind.LINES,
                unit="bytes",
                text="What cannot be taken back from them.",
                queries=[
                    promql(
                        f'sum by (pod) (container_memory_working_set_bytes{{{OURS}, container!=""}})',
                        "{{pod}}",
                    )
                ],
                needs=Need.KUBERNETES,
            ),
        ],
        "Mesh": [
            Panel(
                title="Split",
                kind=Kind.SHARES,
                unit="percentunit",
                text="How the proxies of the ingress share the requests.",
                queries=[
                    promql(
                        "sum by (backend_name) "
                        '(rate(outbound_http_route_backend_requests_total{parent_name="course"}[1m]))',
                        "{{backend_name}}",
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
                        'sum by (deployment) (rate(response_total{direction="inbound", classification="success"}[1m]))'
                        ' / sum by (deployment) (rate(response_total{direction="inbound"}[1m]))',
                        "{{deployment}}",
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
                        "histogram_quantile(0.99, sum by (deployment, le) "
                        '(rate(response_latency_ms_bucket{direction="inbound"}[1m])))',
                        "{{deployment}}",
                    )
                ],
                needs=Need.MESH,
            ),
        ],
    },
)
