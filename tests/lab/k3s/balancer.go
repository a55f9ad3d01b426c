package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"sync"
	"time"
)

const (
	serversFile    = agentDirectory + "/etc/k3s-agent-load-balancer.json"
	dialTimeout    = 2 * time.Second
	lookForServers = 10 * time.Second
)

// balancer is how an agent's parts reach the API: at a port on loopback, from where connections go on to a server that
// answers. So an agent goes on when the server that it joined is gone.
type balancer struct {
	mutex   sync.Mutex
	servers []string // host:port, the one that answered last first
}

func balance(p *processes, first *member) error {
	joined, err := url.Parse(first.server)
	if err != nil {
		return err
	}
	b := &balancer{servers: []string{joined.Host}}
	if known, err := os.ReadFile(serversFile); err == nil {
		var servers []string
		if json.Unmarshal(known, &servers) == nil {
			b.learn(servers)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+balancerPort)
	if err != nil {
		return err
	}
	context.AfterFunc(p.context, func() { _ = listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				p.fail(err)
				return
			}
			go b.carry(connection)
		}
	}()
	through := &member{server: address("127.0.0.1", balancerPort), token: first.token, client: first.client}
	p.every(lookForServers, "servers", func(ctx context.Context) error { return b.refresh(ctx, through) })
	return nil
}

// refresh asks any server which there are.
func (b *balancer) refresh(ctx context.Context, servers *member) error {
	content, err := servers.call(ctx, http.MethodGet, "/v1-k3s/apiservers", nil)
	if err != nil {
		return err
	}
	var addresses []string
	if err := json.Unmarshal(content, &addresses); err != nil {
		return err
	}
	for i, address := range addresses {
		addresses[i] = net.JoinHostPort(address, apiPort)
	}
	b.learn(addresses)
	if content, err = json.Marshal(addresses); err != nil {
		return err
	}
	if err := os.MkdirAll(agentDirectory+"/etc", 0o755); err != nil {
		return err
	}
	return os.WriteFile(serversFile, content, 0o600)
}

// learn adds servers. One that is gone stays at the end of the list, and may come back.
func (b *balancer) learn(servers []string) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	for _, server := range servers {
		if !slices.Contains(b.servers, server) {
			b.servers = append(b.servers, server)
		}
	}
}

func (b *balancer) carry(client net.Conn) {
	defer client.Close()
	server := b.dial()
	if server == nil {
		return
	}
	defer server.Close()
	go func() {
		_, _ = io.Copy(server, client)
		_ = server.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(client, server)
}

// dial reaches the first server that answers, and remembers which one it was.
func (b *balancer) dial() net.Conn {
	b.mutex.Lock()
	servers := slices.Clone(b.servers)
	b.mutex.Unlock()
	dialer := net.Dialer{Timeout: dialTimeout, KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3,
	}}
	for _, server := range servers {
		connection, err := dialer.Dial("tcp", server)
		if err != nil {
			continue
		}
		b.mutex.Lock()
		b.servers = append([]string{server}, slices.DeleteFunc(b.servers, func(other string) bool { return other == server })...)
		b.mutex.Unlock()
		return connection
	}
	return nil
}
