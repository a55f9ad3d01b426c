package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

const (
	etcdTimeout = 10 * time.Second
	slowRequest = time.Second // from which on etcd's log tells of it
	// forgetTimeout is how long a server whose node was deleted is tried to be removed; later it may have joined anew.
	forgetTimeout = time.Minute
)

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
	configuration, err := s.transport().ClientConfig()
	if err != nil {
		return err
	}
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{address(server, "2379")}, TLS: configuration, DialTimeout: etcdTimeout})
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

// forget takes the vote of servers whose nodes are deleted, as k3s does: else each would count as one that is off.
func (s store) forget(p *processes, client *kubernetes.Clientset) {
	factory := informers.NewSharedInformerFactory(client, 0)
	_, _ = factory.Core().V1().Nodes().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		DeleteFunc: func(object any) {
			if missed, ok := object.(cache.DeletedFinalStateUnknown); ok {
				object = missed.Obj
			}
			if node, ok := object.(*corev1.Node); ok {
				go s.forgetOne(p.context, node.Name)
			}
		},
	})
	factory.Start(p.context.Done())
}

func (s store) forgetOne(ctx context.Context, name string) {
	limited, cancel := context.WithTimeout(ctx, forgetTimeout)
	defer cancel()
	err := s.ask(limited, "127.0.0.1", "etcd to forget "+name, func(ctx context.Context, client *clientv3.Client) error {
		listed, err := client.MemberList(ctx)
		if err != nil {
			return err
		}
		for _, known := range listed.Members {
			if known.Name != name {
				continue // an agent, or one that another server was quicker with
			}
			if _, err := client.MemberRemove(ctx, known.ID); err != nil && !errors.Is(err, rpctypes.ErrMemberNotFound) {
				return err
			}
			log.Printf("etcd has forgotten %s, whose node was deleted", name)
		}
		return nil
	})
	if err != nil && ctx.Err() == nil {
		log.Printf("etcd has not forgotten %s, whose node was deleted: %v", name, err)
	}
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
