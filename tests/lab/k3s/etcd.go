package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
)

const (
	etcdTimeout = 10 * time.Second
	slowRequest = time.Second // from which on etcd's log tells of it
	// lookEvery is how often the members are looked at; k3s takes 15 s.
	lookEvery     = 2 * time.Second
	statusTimeout = 2 * time.Second

	// What k3s says of etcd on the nodes of servers, and what keeps a node that is deleted until etcd has dropped its member.
	nodeNameAnnotation                             = "etcd.k3s.cattle.io/node-name"
	nodeAddressAnnotation                          = "etcd.k3s.cattle.io/node-address"
	memberFinalizer                                = "wrangler.cattle.io/managed-etcd-controller"
	voterCondition        corev1.NodeConditionType = "EtcdIsVoter"
)

type nodeClient = typedcorev1.NodeInterface

// store is the cluster's datastore: etcd, within this process. It listens on loopback, and, where other servers may join,
// on the server's address.
type store struct {
	directory   string
	node, ip    string
	open        bool
	certificate string // path without .crt and .key
	authority   string // path without .crt
}

func (s store) transport() transport.TLSInfo {
	return transport.TLSInfo{
		CertFile: s.certificate + ".crt", KeyFile: s.certificate + ".key", TrustedCAFile: s.authority + ".crt",
		ClientCertAuth: true,
	}
}

// client reaches the etcd of a host (an address).
func (s store) client(host string) (*clientv3.Client, error) {
	configuration, err := s.transport().ClientConfig()
	if err != nil {
		return nil, err
	}
	return clientv3.New(clientv3.Config{Endpoints: []string{address(host, "2379")}, TLS: configuration, DialTimeout: etcdTimeout})
}

// start brings this member up: with the data that it has, as a new cluster, or as a new member of that of `server` (an
// address, or "" for none).
func (s store) start(p *processes, server string) error {
	config := embed.NewConfig()
	config.Name, config.Dir = s.node, s.directory
	config.ClientTLSInfo, config.PeerTLSInfo = s.transport(), s.transport()
	config.LogLevel, config.LogOutputs = "warn", []string{"stderr"}
	config.WarningUnaryRequestDuration = slowRequest
	peer := address(s.ip, "2380")
	config.ListenClientUrls, config.AdvertiseClientUrls = urls(address("127.0.0.1", "2379")), urls(address(s.ip, "2379"))
	config.ListenPeerUrls, config.AdvertisePeerUrls = urls(address("127.0.0.1", "2380")), urls(peer)
	if s.open {
		config.ListenClientUrls = append(config.ListenClientUrls, config.AdvertiseClientUrls...)
		config.ListenPeerUrls = config.AdvertisePeerUrls
	}
	config.InitialCluster = s.node + "=" + peer

	joining := server != "" && !s.exists()
	if joining {
		others, err := s.join(p.context, server, peer)
		if err != nil {
			return err
		}
		config.InitialCluster, config.ClusterState = others+","+config.InitialCluster, embed.ClusterStateFlagExisting
	}
	member, err := embed.StartEtcd(config)
	if err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	p.running.Add(1)
	context.AfterFunc(p.context, func() {
		member.Close()
		p.running.Done()
	})
	go func() {
		<-member.Server.StopNotify()
		p.fail(s.ended("its log says why"))
	}()
	select {
	case <-member.Server.ReadyNotify():
	case err := <-member.Err():
		return s.ended(err)
	case <-p.context.Done():
		return context.Cause(p.context)
	}
	if joining {
		return s.promote(p.context, server, uint64(member.Server.MemberID()))
	}
	return nil
}

func (s store) ended(reason any) error {
	return fmt.Errorf("etcd ended (%v): if this server's node was deleted, it joins anew without %s", reason, s.directory)
}

func (s store) exists() bool {
	_, err := os.Stat(filepath.Join(s.directory, "member", "wal"))
	return err == nil
}

// join announces this member, without a vote until it has caught up; returns the others, as name=URL,name=URL.
func (s store) join(ctx context.Context, server, peer string) (string, error) {
	var others []string
	err := s.ask(ctx, server, "etcd of the server "+server, func(ctx context.Context, client *clientv3.Client) error {
		listed, err := client.MemberList(ctx)
		if err != nil {
			return err
		}
		others = nil
		for _, known := range listed.Members {
			// One that was here before and has lost its data would never be let in again.
			if slices.Contains(known.PeerURLs, peer) {
				if _, err := client.MemberRemove(ctx, known.ID); err != nil {
					return err
				}
				continue
			}
			for _, url := range known.PeerURLs {
				others = append(others, known.Name+"="+url)
			}
		}
		_, err = client.MemberAddAsLearner(ctx, []string{peer})
		return err
	})
	return strings.Join(others, ","), err
}

// promote gives this member its vote.
func (s store) promote(ctx context.Context, server string, id uint64) error {
	return s.ask(ctx, server, "a vote in etcd", func(ctx context.Context, client *clientv3.Client) error {
		_, err := client.MemberPromote(ctx, id)
		if err == nil || err == rpctypes.ErrMemberNotLearner {
			return nil
		}
		return err
	})
}

// ask puts a question to the etcd of a server until it is answered.
func (s store) ask(ctx context.Context, server, what string, question func(context.Context, *clientv3.Client) error) error {
	client, err := s.client(server)
	if err != nil {
		return err
	}
	defer client.Close()
	return until(ctx, what, func(ctx context.Context) error {
		limited, cancel := context.WithTimeout(ctx, etcdTimeout)
		defer cancel()
		return question(limited, client)
	})
}

// manage tells of each member on its node, and takes the vote of servers whose nodes are deleted, as k3s does: else each would
// count as one that is off. A node that is deleted stays listed until etcd has dropped its member.
func (s store) manage(p *processes, client *kubernetes.Clientset) error {
	etcd, err := s.client("127.0.0.1")
	if err != nil {
		return err
	}
	context.AfterFunc(p.context, func() { _ = etcd.Close() })
	p.every(lookEvery, "the members of etcd", func(ctx context.Context) error {
		limited, cancel := context.WithTimeout(ctx, etcdTimeout)
		defer cancel()
		return s.look(limited, etcd, client.CoreV1().Nodes())
	})
	return nil
}

func (s store) look(ctx context.Context, etcd *clientv3.Client, nodes nodeClient) error {
	found, err := nodes.List(ctx, metav1.ListOptions{LabelSelector: "node-role.kubernetes.io/etcd=true"})
	if err != nil {
		return err
	}
	for _, node := range found.Items {
		if node.Name == s.node && node.DeletionTimestamp == nil {
			if err := s.announce(ctx, nodes, &node); err != nil {
				return err
			}
		}
	}
	// One of them is enough.
	own, err := etcd.Status(ctx, address("127.0.0.1", "2379"))
	if err != nil || own.Leader != own.Header.MemberId {
		return err
	}
	listed, err := etcd.MemberList(ctx)
	if err != nil {
		return err
	}
	members := map[string]*etcdserverpb.Member{}
	for _, member := range listed.Members {
		members[member.Name] = member
	}
	var failed []error
	for _, node := range found.Items {
		member := members[node.Annotations[nodeNameAnnotation]]
		if node.DeletionTimestamp == nil {
			failed = append(failed, tell(ctx, nodes, &node, stateOf(ctx, etcd, member)))
		} else if slices.Contains(node.Finalizers, memberFinalizer) {
			failed = append(failed, drop(ctx, etcd, nodes, &node, member))
		}
	}
	return errors.Join(failed...)
}

// announce says on this server's own node which member of etcd it is, and keeps the node until etcd has dropped that.
func (s store) announce(ctx context.Context, nodes nodeClient, node *corev1.Node) error {
	annotations := map[string]string{nodeNameAnnotation: s.node, nodeAddressAnnotation: s.ip}
	known := node.Annotations[nodeNameAnnotation] == s.node && node.Annotations[nodeAddressAnnotation] == s.ip
	if known && slices.Contains(node.Finalizers, memberFinalizer) {
		return nil
	}
	finalizers := append(slices.DeleteFunc(slices.Clone(node.Finalizers), isMemberFinalizer), memberFinalizer)
	return patch(ctx, nodes, node.Name, map[string]any{
		"metadata": map[string]any{"annotations": annotations, "finalizers": finalizers, "resourceVersion": node.ResourceVersion}})
}

// drop removes the member, and then lets the node go.
func drop(ctx context.Context, etcd *clientv3.Client, nodes nodeClient, node *corev1.Node, member *etcdserverpb.Member) error {
	if member != nil {
		if _, err := etcd.MemberRemove(ctx, member.ID); err != nil && !errors.Is(err, rpctypes.ErrMemberNotFound) {
			return fmt.Errorf("etcd has not forgotten %s, whose node was deleted: %w", node.Name, err)
		}
	}
	log.Printf("etcd has forgotten %s, whose node was deleted", node.Name)
	finalizers := slices.DeleteFunc(slices.Clone(node.Finalizers), isMemberFinalizer)
	return patch(ctx, nodes, node.Name, map[string]any{
		"metadata": map[string]any{"finalizers": finalizers, "resourceVersion": node.ResourceVersion}})
}

func isMemberFinalizer(name string) bool { return name == memberFinalizer }

func patch(ctx context.Context, nodes nodeClient, name string, content any) error {
	raw, err := json.Marshal(content)
	if err != nil {
		return err
	}
	_, err = nodes.Patch(ctx, name, types.MergePatchType, raw, metav1.PatchOptions{})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // it is gone, or somebody else was quicker: the next look sees to it
	}
	return err
}

// stateOf is what a member is, in the words of k3s; nil is none.
func stateOf(ctx context.Context, etcd *clientv3.Client, member *etcdserverpb.Member) corev1.NodeCondition {
	state := corev1.NodeCondition{Type: voterCondition, Status: corev1.ConditionFalse}
	if member == nil {
		state.Reason, state.Message = "NotAMember", "Node is not a member of the etcd cluster"
		return state
	}
	if len(member.ClientURLs) == 0 {
		state.Reason, state.Message = "Unhealthy", "the member has not started yet"
		return state
	}
	limited, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	if _, err := etcd.Status(limited, member.ClientURLs[0]); err != nil {
		state.Reason, state.Message = "Unhealthy", "failed to check etcd member status: "+err.Error()
	} else if member.IsLearner {
		state.Reason, state.Message = "MemberIsLearner", "Node has not been promoted to voting member of the etcd cluster"
	} else {
		state.Status, state.Reason, state.Message = corev1.ConditionTrue, "MemberNotLearner", "Node is a voting member of the etcd cluster"
	}
	return state
}

// tell writes a condition of a node where it is another than the one that it has.
func tell(ctx context.Context, nodes nodeClient, node *corev1.Node, state corev1.NodeCondition) error {
	for _, known := range node.Status.Conditions {
		if known.Type == state.Type && known.Status == state.Status && known.Reason == state.Reason {
			return nil
		}
	}
	state.LastHeartbeatTime, state.LastTransitionTime = metav1.Now(), metav1.Now()
	raw, err := json.Marshal(map[string]any{"status": map[string]any{"conditions": []corev1.NodeCondition{state}}})
	if err != nil {
		return err
	}
	_, err = nodes.PatchStatus(ctx, node.Name, raw)
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func address(host, port string) string {
	return "https://" + host + ":" + port
}

func urls(text string) []url.URL {
	parsed, err := url.Parse(text)
	if err != nil {
		panic(err) // made of an address that was checked
	}
	return []url.URL{*parsed}
}
