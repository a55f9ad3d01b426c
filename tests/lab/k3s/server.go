package main

import (
	"context"
	"crypto/rand"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

const (
	dataDirectory   = "/var/lib/rancher/k3s"
	serverDirectory = dataDirectory + "/server"
	tlsDirectory    = serverDirectory + "/tls"
	encryptionFile  = serverDirectory + "/cred/encryption-config.json"
	tokenFile       = serverDirectory + "/token"
	agentTokenFile  = serverDirectory + "/agent-token"
)

// authorities are the cluster's own, which all servers share.
type authorities struct {
	server, client, requestHeader, etcd authority
}

// shared are the files, below serverDirectory, that make a server one of this cluster.
var shared = []string{
	"tls/server-ca.crt", "tls/server-ca.key",
	"tls/client-ca.crt", "tls/client-ca.key",
	"tls/request-header-ca.crt", "tls/request-header-ca.key",
	"tls/etcd/ca.crt", "tls/etcd/ca.key",
	"tls/service.key",
	"cred/encryption-config.json",
}

// bootstrap is what a server gets from the one that it joins.
type bootstrap struct {
	Cluster cluster
	Files   map[string][]byte // by names as in `shared`
}

func runServer(s settings) error {
	node, err := nodeOf(s)
	if err != nil {
		return err
	}
	own, err := clusterOf(s)
	if err != nil {
		return err
	}
	skip, err := disabled(s)
	if err != nil {
		return err
	}
	// Every file here is a secret or stands beside one.
	if err := os.MkdirAll(serverDirectory, 0o700); err != nil {
		return err
	}
	p := newProcesses()
	err = startServer(p, s, own, node, skip)
	if err != nil {
		p.fail(err)
	}
	return p.wait()
}

func startServer(p *processes, s settings, own cluster, node node, skip []string) error {
	own.exemptFromProxy()
	given, err := s.secret("token")
	if err != nil {
		return err
	}
	joined := ""
	if server := s.text("server", ""); server != "" {
		if joined, err = host(server); err != nil {
			return err
		}
		if !(store{directory: serverDirectory + "/db/etcd"}).exists() {
			if err := fetchShared(p.context, server, given, own); err != nil {
				return err
			}
		}
	}
	keys, err := openAuthorities()
	if err != nil {
		return err
	}
	secrets, err := keepTokens(s, given, keys.server)
	if err != nil {
		return err
	}
	if err := issueServerCertificates(s, own, node, keys); err != nil {
		return err
	}
	if own.SecretsEncryption {
		if err := makeEncryptionKey(); err != nil {
			return err
		}
	}
	etcd := store{
		directory: serverDirectory + "/db/etcd", node: node.name, ip: node.ip, open: own.Etcd,
		certificate: tlsDirectory + "/etcd/member", authority: tlsDirectory + "/etcd/ca",
	}
	if err := etcd.start(p, joined); err != nil {
		return err
	}
	client, err := startControlPlane(p, s, own, node)
	if err != nil {
		return err
	}
	api, err := forward(keys, tlsDirectory+"/client-auth-proxy")
	if err != nil {
		return err
	}
	doorkeeper := supervisor{cluster: own, secrets: secrets, keys: keys, client: client, api: api}
	if err := doorkeeper.serve(p, node.ip, tlsDirectory+"/serving-kube-apiserver"); err != nil {
		return err
	}
	deploy(p, own, node, skip)
	if own.Etcd {
		watching, err := clientFor(kubeconfigFile, 0)
		if err != nil {
			return err
		}
		if err := etcd.manage(p, watching); err != nil {
			return err
		}
	}
	t := token{hash: hashOf(mustRead(keys.server.path + ".crt")), user: "server", secret: secrets["server"]}
	return startNode(p, s, node, address(node.ip, apiPort), t, address("127.0.0.1", apiPort))
}

// fetchShared takes the cluster's keys from the server to join, and checks that both are told the same about the cluster.
func fetchShared(ctx context.Context, server, given string, own cluster) error {
	if given == "" {
		return errors.New("server is set and token is not: a server joins with the token of the first one")
	}
	t, err := parseToken(given, "server")
	if err != nil {
		return err
	}
	first, err := meet(ctx, server, t)
	if err != nil {
		return err
	}
	var received bootstrap
	if err := first.ask(ctx, http.MethodGet, "/v1-k3s/server-bootstrap", nil, &received); err != nil {
		return err
	}
	if received.Cluster != own {
		return fmt.Errorf("critical configuration mismatched: %s has %+v and this server %+v", server, received.Cluster, own)
	}
	for _, name := range shared {
		content, ok := received.Files[name]
		if !ok {
			continue
		}
		path := filepath.Join(serverDirectory, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func readShared() (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, name := range shared {
		content, err := os.ReadFile(filepath.Join(serverDirectory, name))
		if errors.Is(err, os.ErrNotExist) {
			continue // not every cluster has every file
		} else if err != nil {
			return nil, err
		}
		files[name] = content
	}
	return files, nil
}

func openAuthorities() (keys authorities, err error) {
	for name, target := range map[string]*authority{
		"server-ca": &keys.server, "client-ca": &keys.client, "request-header-ca": &keys.requestHeader, "etcd/ca": &keys.etcd,
	} {
		if *target, err = openAuthority(filepath.Join(tlsDirectory, name)); err != nil {
			return keys, err
		}
	}
	return keys, nil
}

// keepTokens writes the tokens in their long form and returns the secrets by user. The first token is for good.
func keepTokens(s settings, given string, ca authority) (map[string]string, error) {
	hash := hashOf(mustRead(ca.path + ".crt"))
	t, err := parseToken(given, "server")
	if err != nil {
		return nil, err
	}
	if kept, err := os.ReadFile(tokenFile); err == nil {
		before, err := parseToken(strings.TrimSpace(string(kept)), "server")
		if err != nil {
			return nil, fmt.Errorf("%s: %w", tokenFile, err)
		}
		if t.secret != "" && !same(t.secret, before.secret) {
			return nil, fmt.Errorf("this server was set up with another token: use the one in %s", tokenFile)
		}
		t.secret = before.secret
	}
	if t.secret == "" {
		t.secret = randomSecret()
	}
	secrets := map[string]string{"server": t.secret, "node": t.secret}
	if err := writeToken(tokenFile, token{hash, "server", t.secret}); err != nil {
		return nil, err
	}
	agent, err := s.secret("agent-token")
	if err != nil {
		return nil, err
	}
	if agent != "" {
		parsed, err := parseToken(agent, "node")
		if err != nil {
			return nil, fmt.Errorf("agent-token: %w", err)
		}
		secrets["node"] = parsed.secret
		if err := writeToken(agentTokenFile, token{hash, "node", parsed.secret}); err != nil {
			return nil, err
		}
	} else if err := link(tokenFile, agentTokenFile); err != nil {
		return nil, err
	}
	return secrets, link(tokenFile, serverDirectory+"/node-token")
}

func writeToken(path string, t token) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err // it may be a link
	}
	return os.WriteFile(path, []byte(t.String()+"\n"), 0o600)
}

func link(target, path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.Symlink(target, path)
}

func issueServerCertificates(s settings, own cluster, node node, keys authorities) error {
	names := []string{
		"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc." + own.Domain, "localhost", "127.0.0.1",
		node.name, node.ip, nth(own.ServiceCIDR, 1),
	}
	for _, san := range s["tls-san"] {
		names = append(names, strings.Split(san, ",")...)
	}
	masters := pkix.Name{CommonName: "system:admin", Organization: []string{"system:masters"}}
	for _, certificate := range []struct {
		by      authority
		name    string
		subject pkix.Name
		hosts   []string
	}{
		{keys.server, "serving-kube-apiserver", pkix.Name{CommonName: "kube-apiserver"}, names},
		{keys.client, "client-admin", masters, nil},
		{keys.client, "client-kube-apiserver", pkix.Name{CommonName: "system:apiserver", Organization: []string{"system:masters"}}, nil},
		{keys.client, "client-controller", pkix.Name{CommonName: "system:kube-controller-manager"}, nil},
		{keys.client, "client-scheduler", pkix.Name{CommonName: "system:kube-scheduler"}, nil},
		{keys.requestHeader, "client-auth-proxy", pkix.Name{CommonName: "system:auth-proxy"}, nil},
		{keys.etcd, "etcd/member", pkix.Name{CommonName: node.name}, []string{node.ip, "127.0.0.1", "localhost"}},
	} {
		if err := certificate.by.issue(filepath.Join(tlsDirectory, certificate.name), certificate.subject, certificate.hosts...); err != nil {
			return err
		}
	}
	_, err := openKey(tlsDirectory + "/service.key")
	return err
}

// makeEncryptionKey writes, once, how the API server encrypts secrets in the datastore.
func makeEncryptionKey() error {
	if _, err := os.Stat(encryptionFile); err == nil {
		return nil
	}
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return err
	}
	content, err := json.Marshal(map[string]any{
		"apiVersion": "apiserver.config.k8s.io/v1",
		"kind":       "EncryptionConfiguration",
		"resources": []any{map[string]any{
			"resources": []string{"secrets"},
			"providers": []any{
				map[string]any{"aescbc": map[string]any{"keys": []any{
					map[string]string{"name": "aescbckey", "secret": base64.StdEncoding.EncodeToString(key)}}}},
				map[string]any{"identity": map[string]any{}}, // reads what was stored before
			},
		}},
	})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(encryptionFile), 0o700); err != nil {
		return err
	}
	return os.WriteFile(encryptionFile, content, 0o600)
}

// startControlPlane runs the API server on loopback, and the rest once it is ready.
func startControlPlane(p *processes, s settings, own cluster, node node) (*kubernetes.Clientset, error) {
	in := func(name string) string { return filepath.Join(tlsDirectory, name) }
	flags := map[string]string{
		"advertise-address":                  node.ip,
		"allow-privileged":                   "true",
		"anonymous-auth":                     "false",
		"authorization-mode":                 "Node,RBAC",
		"bind-address":                       "127.0.0.1",
		"cert-dir":                           in("temporary-certs"),
		"client-ca-file":                     in("client-ca.crt"),
		"enable-admission-plugins":           "NodeRestriction",
		"enable-aggregator-routing":          "true",
		"etcd-cafile":                        in("etcd/ca.crt"),
		"etcd-certfile":                      in("etcd/member.crt"),
		"etcd-keyfile":                       in("etcd/member.key"),
		"etcd-servers":                       address("127.0.0.1", "2379"),
		"kubelet-certificate-authority":      in("server-ca.crt"),
		"kubelet-client-certificate":         in("client-kube-apiserver.crt"),
		"kubelet-client-key":                 in("client-kube-apiserver.key"),
		"kubelet-preferred-address-types":    "InternalIP,ExternalIP,Hostname",
		"profiling":                          "false",
		"proxy-client-cert-file":             in("client-auth-proxy.crt"),
		"proxy-client-key-file":              in("client-auth-proxy.key"),
		"requestheader-allowed-names":        "system:auth-proxy",
		"requestheader-client-ca-file":       in("request-header-ca.crt"),
		"requestheader-extra-headers-prefix": "X-Remote-Extra-",
		"requestheader-group-headers":        "X-Remote-Group",
		"requestheader-username-headers":     "X-Remote-User",
		"secure-port":                        apiPort,
		"service-account-issuer":             "https://kubernetes.default.svc." + own.Domain,
		"service-account-key-file":           in("service.key"),
		"service-account-signing-key-file":   in("service.key"),
		"service-cluster-ip-range":           own.ServiceCIDR,
		"tls-cert-file":                      in("serving-kube-apiserver.crt"),
		"tls-private-key-file":               in("serving-kube-apiserver.key"),
	}
	if own.SecretsEncryption {
		flags["encryption-provider-config"] = encryptionFile
	}
	p.startPart("kube-apiserver", flags, s["kube-apiserver-arg"]...)

	api := address("127.0.0.1", apiPort)
	if err := writeKubeconfig(kubeconfigFile, api, in("server-ca.crt"), in("client-admin"), s.text("write-kubeconfig-mode", "0600")); err != nil {
		return nil, err
	}
	client, err := clientFor(kubeconfigFile, joinTimeout)
	if err != nil {
		return nil, err
	}
	err = until(p.context, "the API server", func(ctx context.Context) error {
		_, err := client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	return client, startControllers(p, s, own, api)
}

func startControllers(p *processes, s settings, own cluster, api string) error {
	in := func(name string) string { return filepath.Join(tlsDirectory, name) }
	credentials := map[string]string{}
	for _, name := range []string{"controller", "scheduler"} {
		credentials[name] = filepath.Join(serverDirectory, "cred", name+".kubeconfig")
		if err := writeKubeconfig(credentials[name], api, in("server-ca.crt"), in("client-"+name), "0600"); err != nil {
			return err
		}
	}
	p.startPart("kube-controller-manager", map[string]string{
		"allocate-node-cidrs":              "true",
		"authentication-kubeconfig":        credentials["controller"],
		"authorization-kubeconfig":         credentials["controller"],
		"bind-address":                     "127.0.0.1",
		"cluster-cidr":                     own.PodCIDR,
		"cluster-signing-cert-file":        in("client-ca.crt"),
		"cluster-signing-key-file":         in("client-ca.key"),
		"kubeconfig":                       credentials["controller"],
		"profiling":                        "false",
		"root-ca-file":                     in("server-ca.crt"),
		"service-account-private-key-file": in("service.key"),
		"service-cluster-ip-range":         own.ServiceCIDR,
		"use-service-account-credentials":  "true",
	}, s["kube-controller-manager-arg"]...)
	p.startPart("kube-scheduler", map[string]string{
		"authentication-kubeconfig": credentials["scheduler"],
		"authorization-kubeconfig":  credentials["scheduler"],
		"bind-address":              "127.0.0.1",
		"kubeconfig":                credentials["scheduler"],
		"profiling":                 "false",
	}, s["kube-scheduler-arg"]...)
	return nil
}

// writeKubeconfig writes who to talk to (a URL), and as whom; certificate is a path without .crt and .key, mode is octal.
func writeKubeconfig(path, api, authority, certificate, mode string) error {
	permissions, err := strconv.ParseUint(mode, 8, 32)
	if err != nil {
		return fmt.Errorf("write-kubeconfig-mode is %q, and has to be octal, such as \"0600\"", mode)
	}
	content, err := clientcmd.Write(clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{
			"default": {Server: api, CertificateAuthorityData: mustRead(authority)},
		},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{
			"default": {ClientCertificateData: mustRead(certificate + ".crt"), ClientKeyData: mustRead(certificate + ".key")},
		},
		Contexts:       map[string]*clientcmdapi.Context{"default": {Cluster: "default", AuthInfo: "default"}},
		CurrentContext: "default",
	})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, content, os.FileMode(permissions)); err != nil {
		return err
	}
	return os.Chmod(path, os.FileMode(permissions))
}

// clientFor talks to the API; a question may take as long as `timeout`, or for ever if that is 0, as a watch has to.
func clientFor(kubeconfig string, timeout time.Duration) (*kubernetes.Clientset, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	config.ContentType = "application/vnd.kubernetes.protobuf"
	config.AcceptContentTypes = config.ContentType + "," + "application/json"
	config.Timeout = timeout
	return kubernetes.NewForConfig(rest.AddUserAgent(config, "k3s"))
}

// mustRead reads a file that this program has written a moment ago.
func mustRead(path string) []byte {
	content, err := os.ReadFile(path)
	if err != nil {
		panic(err)
	}
	return content
}
