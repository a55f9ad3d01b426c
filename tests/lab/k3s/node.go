package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

const (
	agentDirectory    = dataDirectory + "/agent"
	programsDirectory = dataDirectory + "/data/current/bin"
	pluginsDirectory  = dataDirectory + "/data/cni"
	cniDirectory      = agentDirectory + "/etc/cni/net.d"
	containerdConfig  = agentDirectory + "/etc/containerd/config.toml"
	registryDirectory = agentDirectory + "/etc/containerd/certs.d"
	containerdState   = "/run/k3s/containerd"
	containerdSocket  = containerdState + "/containerd.sock"
	balancerPort      = "6444"
	pauseImage        = "docker.io/rancher/mirrored-pause:3.6"
)

// node is this host as a node of the cluster.
type node struct {
	name, ip string
}

// nodeOf takes the node's name and address from the options, or from the host: its name, and the address that its default
// route leaves from.
func nodeOf(s settings) (node, error) {
	name, err := os.Hostname()
	if err != nil {
		return node{}, err
	}
	n := node{name: strings.ToLower(s.text("node-name", name)), ip: s.text("node-ip", "")}
	if n.ip == "" {
		// Sends nothing: it only chooses a route.
		probe, err := net.Dial("udp4", "192.0.2.1:9")
		if err != nil {
			return n, errors.New("this host has no default route: add one, or set node-ip")
		}
		defer probe.Close()
		n.ip = probe.LocalAddr().(*net.UDPAddr).IP.String()
	}
	if net.ParseIP(n.ip).To4() == nil {
		return n, fmt.Errorf("node-ip is %q, and has to be one IPv4 address", n.ip)
	}
	if name := s.text("flannel-iface", ""); name != "" && !hasInterface(name, n.ip) {
		return n, fmt.Errorf("flannel-iface is %q, and the stand-in connects pods over the interface that has %s", name, n.ip)
	}
	return n, nil
}

func hasInterface(name, ip string) bool {
	found, err := net.InterfaceByName(name)
	if err != nil {
		return false
	}
	addresses, err := found.Addrs()
	return err == nil && slices.ContainsFunc(addresses, func(address net.Addr) bool {
		network, ok := address.(*net.IPNet)
		return ok && network.IP.String() == ip
	})
}

func runAgent(s settings) error {
	own, err := nodeOf(s)
	if err != nil {
		return err
	}
	server := s.text("server", "")
	if _, err := host(server); err != nil {
		return err
	}
	given, err := s.secret("token")
	if err != nil {
		return err
	}
	if given == "" {
		return errors.New("token or token-file is required: an agent joins with /var/lib/rancher/k3s/server/token of its server")
	}
	t, err := parseToken(given, "node")
	if err != nil {
		return err
	}
	p := newProcesses()
	if err := startNode(p, s, own, server, t, address("127.0.0.1", balancerPort)); err != nil {
		p.fail(err)
	}
	return p.wait()
}

// startNode joins a server (a URL) and runs a node's parts; they talk to the API at `api`. It returns when they run.
func startNode(p *processes, s settings, own node, server string, t token, api string) error {
	if err := os.MkdirAll(agentDirectory, 0o755); err != nil {
		return err
	}
	first, err := meet(p.context, server, t)
	if err != nil {
		return err
	}
	joined, err := first.joinNode(p.context, own)
	if err != nil {
		return err
	}
	joined.Cluster.exemptFromProxy()
	if api == address("127.0.0.1", balancerPort) {
		if err := balance(p, first); err != nil {
			return err
		}
	}
	for _, name := range []string{"kubelet", "kube-proxy", "k3s-controller"} {
		err := writeKubeconfig(kubeconfigOf(name), api, agentDirectory+"/server-ca.crt", agentDirectory+"/client-"+name, "0600")
		if err != nil {
			return err
		}
	}
	if err := startContainerd(p); err != nil {
		return err
	}
	if err := importImages(p); err != nil {
		return err
	}
	client, err := clientFor(kubeconfigOf("k3s-controller"), joinTimeout)
	if err != nil {
		return err
	}
	if err := startKubelet(p, s, own, joined.Cluster); err != nil {
		return err
	}
	p.startPart("kube-proxy", map[string]string{
		"cluster-cidr":      joined.Cluster.PodCIDR,
		"hostname-override": own.name,
		"kubeconfig":        kubeconfigOf("kube-proxy"),
		"proxy-mode":        "iptables",
		// The kernel's limits are the machine's, not the host's to set.
		"conntrack-max-per-core":            "0",
		"conntrack-tcp-timeout-close-wait":  "0",
		"conntrack-tcp-timeout-established": "0",
	}, s["kube-proxy-arg"]...)
	if err := connect(p, client, own, joined.Cluster); err != nil {
		return err
	}
	watching, err := clientFor(kubeconfigOf("k3s-controller"), 0)
	if err != nil {
		return err
	}
	if joined.Cluster.NetworkPolicy {
		enforce(p, watching, own)
	}
	provide(p, watching, own)
	notify("READY=1")
	return nil
}

func kubeconfigOf(name string) string {
	return filepath.Join(agentDirectory, name+".kubeconfig")
}

// joinNode gets this node's certificates, for keys that never leave it.
func (m *member) joinNode(ctx context.Context, own node) (nodeAnswer, error) {
	asked := nodeRequest{Name: own.name, IP: own.ip, Certificates: map[string][]byte{}}
	for _, name := range []string{"serving-kubelet", "client-kubelet", "client-kube-proxy", "client-k3s-controller"} {
		key, err := openKey(filepath.Join(agentDirectory, name+".key"))
		if err != nil {
			return nodeAnswer{}, err
		}
		if asked.Certificates[name], err = request(key); err != nil {
			return nodeAnswer{}, err
		}
	}
	var answer nodeAnswer
	if err := m.ask(ctx, http.MethodPost, "/v1-k3s/node", asked, &answer); err != nil {
		return answer, err
	}
	files := map[string][]byte{"client-ca": answer.ClientCA, "server-ca": answer.ServerCA}
	for name, content := range answer.Certificates {
		files[filepath.Base(name)] = content
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(agentDirectory, name+".crt"), content, 0o644); err != nil {
			return answer, err
		}
	}
	return answer, nil
}

// startContainerd runs the host's containerd with a configuration, state and data of k3s's own.
func startContainerd(p *processes) error {
	if err := writeRegistries(); err != nil {
		return err
	}
	if err := linkPrograms(); err != nil {
		return err
	}
	configuration := fmt.Sprintf(`version = 2
root = %q
state = %q
[grpc]
address = %q
[plugins."io.containerd.grpc.v1.cri"]
# Not every host may lower what the kernel kills last, and lab hosts have no AppArmor.
restrict_oom_score_adj = true
disable_apparmor = true
sandbox_image = %q
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = %q
conf_dir = %q
[plugins."io.containerd.grpc.v1.cri".registry]
config_path = %q
`, agentDirectory+"/containerd", containerdState, containerdSocket, pauseImage, pluginsDirectory, cniDirectory, registryDirectory)
	if err := os.MkdirAll(filepath.Dir(containerdConfig), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(containerdConfig, []byte(configuration), 0o600); err != nil {
		return err
	}
	p.startWith(containerdEnvironment(), programsDirectory+"/containerd", "containerd", "--config", containerdConfig, "--log-level", "warn")
	return until(p.context, "containerd", func(context.Context) error {
		connection, err := net.Dial("unix", containerdSocket)
		if err != nil {
			return err
		}
		return connection.Close()
	})
}

// containerdEnvironment is this program's, in which CONTAINERD_HTTP_PROXY and its like go before HTTP_PROXY.
func containerdEnvironment() []string {
	environment := os.Environ()
	for _, variable := range os.Environ() {
		if own, ok := strings.CutPrefix(variable, "CONTAINERD_"); ok {
			environment = append(environment, own)
		}
	}
	return environment
}

// linkPrograms puts the host's programs where k3s unpacks its own: there others add network plugins, and look for processes.
func linkPrograms() error {
	plugins, err := filepath.Glob("/usr/lib/cni/*")
	if err != nil {
		return err
	}
	targets := map[string][]string{
		programsDirectory: {"/usr/bin/containerd", "/usr/bin/containerd-shim-runc-v2", "/usr/bin/ctr", "/usr/sbin/runc"},
		pluginsDirectory:  plugins,
	}
	for directory, programs := range targets {
		if err := os.MkdirAll(directory, 0o755); err != nil {
			return err
		}
		for _, program := range programs {
			if err := link(program, filepath.Join(directory, filepath.Base(program))); err != nil {
				return err
			}
		}
	}
	return os.Setenv("PATH", programsDirectory+":"+os.Getenv("PATH"))
}

func startKubelet(p *processes, s settings, own node, c cluster) error {
	root := "/" + own.name
	if err := makeCgroups(root); err != nil {
		return err
	}
	configuration, err := json.Marshal(map[string]any{
		"apiVersion":               "kubelet.config.k8s.io/v1beta1",
		"kind":                     "KubeletConfiguration",
		"authentication":           map[string]any{"anonymous": map[string]any{"enabled": false}, "x509": map[string]any{"clientCAFile": agentDirectory + "/client-ca.crt"}},
		"authorization":            map[string]any{"mode": "Webhook"},
		"cgroupDriver":             "cgroupfs",
		"cgroupRoot":               root,
		"clusterDNS":               []string{c.DNS},
		"clusterDomain":            c.Domain,
		"containerRuntimeEndpoint": "unix://" + containerdSocket,
		"evictionHard":             map[string]string{"imagefs.available": "5%", "nodefs.available": "5%"},
		"failCgroupV1":             false,
		"failSwapOn":               false,
		// k3s pins the images that it imports, which Debian's containerd cannot: here no image is removed to save disk.
		"imageGCHighThresholdPercent": 100,
		"protectKernelDefaults":       s.flag("protect-kernel-defaults"),
		"resolvConf":                  s.text("resolv-conf", "/etc/resolv.conf"),
		"tlsCertFile":                 agentDirectory + "/serving-kubelet.crt",
		"tlsPrivateKeyFile":           agentDirectory + "/serving-kubelet.key",
		// A host that is a container may not touch the machine's kernel.
		"featureGates": map[string]bool{"KubeletInUserNamespace": true},
	})
	if err != nil {
		return err
	}
	file := agentDirectory + "/etc/kubelet.yaml"
	if configuration, err = yaml.JSONToYAML(configuration); err != nil {
		return err
	}
	if err := os.WriteFile(file, configuration, 0o600); err != nil {
		return err
	}
	p.startPart("kubelet", map[string]string{
		"config":               file,
		"hostname-override":    own.name,
		"kubeconfig":           kubeconfigOf("kubelet"),
		"node-ip":              own.ip,
		"node-labels":          strings.Join(s["node-label"], ","),
		"register-with-taints": strings.Join(s["node-taint"], ","),
	}, s["kubelet-arg"]...)
	return nil
}

// makeCgroups gives this host's pods a place of their own in every hierarchy of cgroup v1: kubelets of hosts that share a
// machine would otherwise take each other's pods for leftovers. New cpusets are empty until they are filled in.
func makeCgroups(root string) error {
	hierarchies, err := filepath.Glob("/sys/fs/cgroup/*/cgroup.procs")
	if err != nil {
		return err
	}
	for _, file := range hierarchies {
		directory := filepath.Dir(file)
		if filepath.Base(directory) == "unified" {
			continue
		}
		if err := os.MkdirAll(directory+root, 0o755); err != nil {
			return err
		}
		for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
			value, err := os.ReadFile(filepath.Join(directory, name))
			if err != nil {
				continue // another hierarchy
			}
			if err := os.WriteFile(filepath.Join(directory+root, name), value, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}
