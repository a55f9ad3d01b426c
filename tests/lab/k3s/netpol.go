package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os/exec"
	"slices"
	"sort"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

const (
	// forwardChain sees every packet from and to this node's pods. The names are those of kube-router, which k3s has within.
	forwardChain = "KUBE-ROUTER-FORWARD"
	chainPrefix  = "KUBE-POD-FW-"
	// allowed is the mark of a packet that a policy lets pass, for as long as one pod's rules look at it.
	allowed = "0x20000/0x20000"
)

// enforce keeps this node's packet filter as the NetworkPolicies say, for the pods that run here. What passes between a
// pod and its own node is let be: kubelet has to ask whether pods are ready.
func enforce(p *processes, client *kubernetes.Clientset, own node) {
	factory := informers.NewSharedInformerFactory(client, 0)
	pods, namespaces := factory.Core().V1().Pods(), factory.Core().V1().Namespaces()
	policies := factory.Networking().V1().NetworkPolicies()
	watched := []cache.SharedIndexInformer{pods.Informer(), namespaces.Informer(), policies.Informer()}
	filter := filter{node: own.name}
	onChange(p, "network policies", factory, watched, func(ctx context.Context) error {
		// The cache lists what is there; it does not fail.
		filter.pods, _ = pods.Lister().List(labels.Everything())
		filter.namespaces, _ = namespaces.Lister().List(labels.Everything())
		filter.policies, _ = policies.Lister().List(labels.Everything())
		return filter.apply(ctx)
	})
}

// filter turns policies into rules of iptables.
type filter struct {
	node       string
	pods       []*corev1.Pod
	namespaces []*corev1.Namespace
	policies   []*networkingv1.NetworkPolicy

	chains  []string // that were written last
	written string
}

// apply writes the rules in one step, so that no packet meets half of them.
func (f *filter) apply(ctx context.Context) error {
	rules, chains := f.rules()
	if rules == f.written {
		return nil
	}
	var script strings.Builder
	script.WriteString("*filter\n")
	for _, chain := range append([]string{forwardChain}, slices.Concat(chains, f.chains)...) {
		fmt.Fprintf(&script, ":%s - [0:0]\n", chain)
	}
	script.WriteString(rules)
	for _, chain := range f.chains {
		if !slices.Contains(chains, chain) {
			fmt.Fprintf(&script, "-X %s\n", chain)
		}
	}
	script.WriteString("COMMIT\n")
	restore := exec.CommandContext(ctx, "iptables-restore", "--wait", "--noflush")
	restore.Stdin = bytes.NewBufferString(script.String())
	if output, err := restore.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(output)))
	}
	f.written, f.chains = rules, chains
	jump := []string{"-m", "comment", "--comment", "kube-router netpol", "-j", forwardChain}
	if command("iptables", append([]string{"-w", "-C", "FORWARD"}, jump...)...) == nil {
		return nil
	}
	return command("iptables", append([]string{"-w", "-I", "FORWARD", "1"}, jump...)...)
}

// rules are those of all pods of this node, and the chains that they need.
func (f *filter) rules() (string, []string) {
	var rules strings.Builder
	var chains []string
	fmt.Fprintf(&rules, "-A %s -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN\n", forwardChain)
	pods := slices.Clone(f.pods)
	sort.Slice(pods, func(i, j int) bool { return pods[i].UID < pods[j].UID })
	for _, pod := range pods {
		if pod.Spec.NodeName != f.node || !hasAddress(pod) {
			continue
		}
		for _, way := range []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress} {
			var passes [][]string
			isolated := false
			for _, policy := range f.policies {
				if policy.Namespace == pod.Namespace && slices.Contains(typesOf(policy), way) && selects(&policy.Spec.PodSelector, pod.Labels) {
					isolated = true
					passes = append(passes, f.passes(policy, pod, way)...)
				}
			}
			if !isolated {
				continue
			}
			chain := chainPrefix + shortHash(string(way)+string(pod.UID))
			chains = append(chains, chain)
			side := map[networkingv1.PolicyType]string{networkingv1.PolicyTypeIngress: "-d", networkingv1.PolicyTypeEgress: "-s"}[way]
			fmt.Fprintf(&rules, "-A %s %s %s -j %s\n", forwardChain, side, pod.Status.PodIP, chain)
			for _, pass := range passes {
				fmt.Fprintf(&rules, "-A %s %s\n", chain, strings.Join(pass, " "))
			}
			fmt.Fprintf(&rules, "-A %s -m mark ! --mark %s -j REJECT\n", chain, allowed)
			fmt.Fprintf(&rules, "-A %s -j MARK --set-xmark 0x0/0x20000\n", chain)
		}
	}
	return rules.String(), chains
}

// passes are matches and targets that let pass what one policy allows a pod.
func (f *filter) passes(policy *networkingv1.NetworkPolicy, pod *corev1.Pod, way networkingv1.PolicyType) (passes [][]string) {
	mark := []string{"-j", "MARK", "--set-xmark", allowed}
	add := func(side string, peers []networkingv1.NetworkPolicyPeer, ports []networkingv1.NetworkPolicyPort) {
		for _, other := range f.others(policy.Namespace, peers) {
			target := pod
			if side == "-d" {
				target = other.pod
			}
			for _, port := range matches(ports, target) {
				match := append([]string{}, port...)
				if other.network != "" {
					match = append(match, side, other.network)
				}
				// What an ipBlock leaves out is refused by this match, and may be let pass by another.
				if other.except != "" {
					match = append(match, "-m", "set", "!", "--match-set", other.except, map[string]string{"-s": "src", "-d": "dst"}[side])
				}
				passes = append(passes, append(match, mark...))
			}
		}
	}
	if way == networkingv1.PolicyTypeIngress {
		for _, rule := range policy.Spec.Ingress {
			add("-s", rule.From, rule.Ports)
		}
	} else {
		for _, rule := range policy.Spec.Egress {
			add("-d", rule.To, rule.Ports)
		}
	}
	return passes
}

// other is who a pod may talk with: a network ("" for everyone), the pod if it is one, and a set of what is left out.
type other struct {
	network string
	pod     *corev1.Pod
	except  string
}

func (f *filter) others(namespace string, peers []networkingv1.NetworkPolicyPeer) (found []other) {
	if len(peers) == 0 {
		return []other{{}}
	}
	for _, peer := range peers {
		if peer.IPBlock != nil {
			found = append(found, other{network: peer.IPBlock.CIDR, except: exceptions(peer.IPBlock)})
			continue
		}
		for _, pod := range f.pods {
			if hasAddress(pod) && f.inNamespace(pod, peer.NamespaceSelector, namespace) &&
				(peer.PodSelector == nil || selects(peer.PodSelector, pod.Labels)) {
				found = append(found, other{network: pod.Status.PodIP, pod: pod})
			}
		}
	}
	sort.Slice(found, func(i, j int) bool { return found[i].network < found[j].network })
	return found
}

func (f *filter) inNamespace(pod *corev1.Pod, selector *metav1.LabelSelector, own string) bool {
	if selector == nil {
		return pod.Namespace == own
	}
	for _, namespace := range f.namespaces {
		if namespace.Name == pod.Namespace {
			return selects(selector, namespace.Labels)
		}
	}
	return false
}

// exceptions makes a set of the networks that an ipBlock leaves out, and returns its name; "" where there are none.
func exceptions(block *networkingv1.IPBlock) string {
	if len(block.Except) == 0 {
		return ""
	}
	name := "KUBE-" + shortHash(strings.Join(block.Except, " "))
	_ = command("ipset", "create", "-exist", name, "hash:net")
	for _, network := range block.Except {
		_ = command("ipset", "add", "-exist", name, network)
	}
	return name
}

// matches are the ports of a rule, as iptables matches them; `target` is the pod that the packet goes to, if it is known.
func matches(ports []networkingv1.NetworkPolicyPort, target *corev1.Pod) (found [][]string) {
	if len(ports) == 0 {
		return [][]string{nil}
	}
	for _, port := range ports {
		protocol := corev1.ProtocolTCP
		if port.Protocol != nil {
			protocol = *port.Protocol
		}
		match := []string{"-p", strings.ToLower(string(protocol))}
		switch {
		case port.Port == nil:
		case port.Port.Type == intstr.Int && port.EndPort != nil:
			match = append(match, "--dport", fmt.Sprintf("%d:%d", port.Port.IntVal, *port.EndPort))
		case port.Port.Type == intstr.Int:
			match = append(match, "--dport", fmt.Sprint(port.Port.IntVal))
		default:
			number := named(target, port.Port.StrVal, protocol)
			if number == 0 {
				continue
			}
			match = append(match, "--dport", fmt.Sprint(number))
		}
		found = append(found, match)
	}
	return found
}

// named is the number of a pod's port; 0 where it has none of that name.
func named(pod *corev1.Pod, name string, protocol corev1.Protocol) int32 {
	if pod == nil {
		return 0
	}
	// A sidecar is an init container that stays.
	for _, container := range slices.Concat(pod.Spec.Containers, pod.Spec.InitContainers) {
		for _, port := range container.Ports {
			if port.Name == name && (port.Protocol == protocol || port.Protocol == "") {
				return port.ContainerPort
			}
		}
	}
	return 0
}

func hasAddress(pod *corev1.Pod) bool {
	ended := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
	return pod.Status.PodIP != "" && !pod.Spec.HostNetwork && !ended
}

// typesOf are a policy's types; without any it is for ingress, and for egress if it has rules for that.
func typesOf(policy *networkingv1.NetworkPolicy) []networkingv1.PolicyType {
	if len(policy.Spec.PolicyTypes) > 0 {
		return policy.Spec.PolicyTypes
	}
	if len(policy.Spec.Egress) > 0 {
		return []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress}
	}
	return []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}
}

func selects(selector *metav1.LabelSelector, set map[string]string) bool {
	parsed, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && parsed.Matches(labels.Set(set)) // the API server has checked it
}

func shortHash(content string) string {
	sum := sha256.Sum256([]byte(content))
	return hex.EncodeToString(sum[:8])
}
