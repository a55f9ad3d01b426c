package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

const (
	networkFile = cniDirectory + "/10-flannel.conflist"
	lookAtNodes = 3 * time.Second
	// ourRoutes marks this program's routes among the host's.
	ourRoutes = "142"
)

// connect gives pods addresses and ways to each other, as flannel's host-gw does: a bridge on each node with the network
// that the cluster gave it, and a route to every other node's.
func connect(p *processes, client *kubernetes.Clientset, own node, c cluster) error {
	err := until(p.context, "this node's part of the pods' network", func(ctx context.Context) error {
		found, err := client.CoreV1().Nodes().Get(ctx, own.name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if found.Spec.PodCIDR == "" {
			return errors.New("not assigned yet")
		}
		return settle(found.Spec.PodCIDR, c.PodCIDR)
	})
	if err != nil {
		return err
	}
	p.every(lookAtNodes, "routes", func(ctx context.Context) error {
		nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		return route(own, nodes.Items)
	})
	return nil
}

// settle writes how pods are connected on this node, whose network is `ours`, and lets their packets pass.
func settle(ours, all string) error {
	configuration := fmt.Sprintf(`{"cniVersion": "1.0.0", "name": "cbr0", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": %q}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
`, ours)
	if err := os.MkdirAll(filepath.Dir(networkFile), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(networkFile, []byte(configuration), 0o600); err != nil {
		return err
	}
	for _, rule := range [][]string{
		{"nat", "POSTROUTING", "-s", ours, "!", "-d", all, "-m", "comment", "--comment", "flanneld masq", "-j", "MASQUERADE"},
		{"filter", "FORWARD", "-s", all, "-m", "comment", "--comment", "flanneld forward", "-j", "ACCEPT"},
		{"filter", "FORWARD", "-d", all, "-m", "comment", "--comment", "flanneld forward", "-j", "ACCEPT"},
	} {
		arguments := append([]string{"-w", "-t", rule[0]}, rule[1:]...)
		if command("iptables", with(arguments, "-C")...) == nil {
			continue
		}
		if err := command("iptables", with(arguments, "-A")...); err != nil {
			return err
		}
	}
	return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644)
}

// with puts an iptables command in front of the chain that follows -w -t TABLE.
func with(arguments []string, action string) []string {
	return append(append(append([]string{}, arguments[:3]...), action), arguments[3:]...)
}

// route makes the host's routes those to the other nodes' networks: missing ones come, those of nodes that are gone go.
func route(own node, nodes []corev1.Node) error {
	wanted := map[string]string{}
	for _, other := range nodes {
		for _, address := range other.Status.Addresses {
			if other.Name != own.name && other.Spec.PodCIDR != "" && address.Type == corev1.NodeInternalIP {
				wanted[other.Spec.PodCIDR] = address.Address
			}
		}
	}
	present, err := exec.Command("ip", "-4", "route", "show", "proto", ourRoutes).Output()
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(present)) {
		fields := strings.Fields(line) // 10.42.1.0/24 via 10.77.0.12 dev eth0
		if len(fields) < 3 || wanted[fields[0]] == fields[2] {
			delete(wanted, fields[0])
			continue
		}
		if err := command("ip", "route", "delete", fields[0], "proto", ourRoutes); err != nil {
			return err
		}
	}
	for network, gateway := range wanted {
		if err := command("ip", "route", "replace", network, "via", gateway, "proto", ourRoutes); err != nil {
			return err
		}
	}
	return nil
}

func command(name string, arguments ...string) error {
	if output, err := exec.Command(name, arguments...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(arguments, " "), err, strings.TrimSpace(string(output)))
	}
	return nil
}
