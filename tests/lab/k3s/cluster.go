package main

import (
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
)

// cluster is what all of its members have to agree about.
type cluster struct {
	PodCIDR           string
	ServiceCIDR       string
	DNS               string // the address of the cluster's name server
	Domain            string
	SecretsEncryption bool
	NetworkPolicy     bool
	Etcd              bool // whether other servers may join
}

// clusterOf reads what a server is told about the cluster; the defaults are those of k3s.
func clusterOf(s settings) (cluster, error) {
	c := cluster{
		PodCIDR:           s.text("cluster-cidr", "10.42.0.0/16"),
		ServiceCIDR:       s.text("service-cidr", "10.43.0.0/16"),
		Domain:            s.text("cluster-domain", "cluster.local"),
		SecretsEncryption: s.flag("secrets-encryption"),
		NetworkPolicy:     !s.flag("disable-network-policy"),
		Etcd:              s.flag("cluster-init") || s.text("server", "") != "",
	}
	if backend := s.text("flannel-backend", "host-gw"); backend != "host-gw" {
		return c, fmt.Errorf("flannel-backend is %q, and the stand-in connects pods by routes only: host-gw", backend)
	}
	for option, cidr := range map[string]string{"cluster-cidr": c.PodCIDR, "service-cidr": c.ServiceCIDR} {
		if prefix, err := netip.ParsePrefix(cidr); err != nil || !prefix.Addr().Is4() {
			return c, fmt.Errorf("%s is %q: the stand-in takes one IPv4 network, such as 10.42.0.0/16", option, cidr)
		}
	}
	c.DNS = s.text("cluster-dns", nth(c.ServiceCIDR, 10))
	return c, nil
}

// exemptFromProxy lets nothing within the cluster go through a proxy, as k3s does. The hosts' own addresses are for NO_PROXY.
func (c cluster) exemptFromProxy() {
	exempt := strings.Split(os.Getenv("NO_PROXY")+","+os.Getenv("no_proxy"), ",")
	exempt = append(exempt, ".svc", "."+c.Domain, c.PodCIDR, c.ServiceCIDR)
	slices.Sort(exempt)
	exempt = slices.DeleteFunc(slices.Compact(exempt), func(name string) bool { return name == "" })
	_ = os.Unsetenv("no_proxy")
	_ = os.Setenv("NO_PROXY", strings.Join(exempt, ","))
}

// nth is an address of a network: 10.43.0.10 is the tenth of 10.43.0.0/16.
func nth(cidr string, n int) string {
	address := netip.MustParsePrefix(cidr).Masked().Addr()
	for range n {
		address = address.Next()
	}
	return address.String()
}

// host is the host of a server's URL, as in https://10.0.0.1:6443.
func host(server string) (string, error) {
	parsed, err := url.Parse(server)
	if err != nil || parsed.Scheme != "https" || parsed.Hostname() == "" {
		return "", fmt.Errorf("server is %q, and has to be a URL such as https://10.0.0.1:6443", server)
	}
	return parsed.Hostname(), nil
}
