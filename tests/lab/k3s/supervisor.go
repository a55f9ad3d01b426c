package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

const apiPort = "6443"

// nodeRequest is what a node sends to join.
type nodeRequest struct {
	Name, IP     string
	Certificates map[string][]byte // CSR (PEM) by the name of the certificate
}

// nodeAnswer is what it gets.
type nodeAnswer struct {
	Cluster      cluster
	Certificates map[string][]byte // PEM, by the same names
	ClientCA     []byte
	ServerCA     []byte
}

// supervisor answers on a server's address and port 6443: to nodes and servers that join, and, for everything else, with
// what the API server says, which listens on loopback.
type supervisor struct {
	cluster cluster
	secrets map[string]string // by user: server, node
	keys    authorities
	client  *kubernetes.Clientset
	api     http.Handler
}

func (s *supervisor) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /cacerts", func(w http.ResponseWriter, _ *http.Request) { sendFile(w, s.keys.server.path+".crt") })
	mux.HandleFunc("GET /ping", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "pong") })
	mux.HandleFunc("POST /v1-k3s/node", s.allow(s.joinNode, "node", "server"))
	mux.HandleFunc("GET /v1-k3s/apiservers", s.allow(s.listServers, "node", "server"))
	mux.HandleFunc("GET /v1-k3s/server-bootstrap", s.allow(s.bootstrapServer, "server"))
	mux.Handle("/", s.api)
	return mux
}

// allow lets pass who knows the secret of one of these users.
func (s *supervisor) allow(next http.HandlerFunc, users ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		for _, allowed := range users {
			if user == allowed && same(password, s.secrets[user]) {
				next(w, r)
				return
			}
		}
		http.Error(w, "not authorized", http.StatusUnauthorized)
	}
}

func (s *supervisor) joinNode(w http.ResponseWriter, r *http.Request) {
	var asked nodeRequest
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&asked); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answer := nodeAnswer{Cluster: s.cluster, Certificates: map[string][]byte{}}
	answer.ClientCA, _ = os.ReadFile(s.keys.client.path + ".crt")
	answer.ServerCA, _ = os.ReadFile(s.keys.server.path + ".crt")
	for name, csr := range asked.Certificates {
		key, err := requested(csr)
		if err == nil {
			answer.Certificates[name], err = s.certify(name, asked, key)
		}
		if err != nil {
			http.Error(w, name+": "+err.Error(), http.StatusBadRequest)
			return
		}
	}
	send(w, answer)
}

// certify gives a node the certificates that nodes have, and no others.
func (s *supervisor) certify(name string, node nodeRequest, key any) ([]byte, error) {
	switch name {
	case "serving-kubelet":
		return s.keys.server.sign(pkix.Name{CommonName: node.Name}, key, node.Name, node.IP, "127.0.0.1", "localhost")
	case "client-kubelet":
		return s.keys.client.sign(pkix.Name{CommonName: "system:node:" + node.Name, Organization: []string{"system:nodes"}}, key)
	case "client-kube-proxy":
		return s.keys.client.sign(pkix.Name{CommonName: "system:kube-proxy"}, key)
	case "client-k3s-controller":
		return s.keys.client.sign(pkix.Name{CommonName: "system:k3s-controller"}, key)
	}
	return nil, fmt.Errorf("no node has such a certificate")
}

// listServers names the addresses of all servers whose API is up.
func (s *supervisor) listServers(w http.ResponseWriter, r *http.Request) {
	published, err := s.client.DiscoveryV1().EndpointSlices("default").List(
		r.Context(), metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=kubernetes"})
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	addresses := []string{}
	for _, slice := range published.Items {
		for _, endpoint := range slice.Endpoints {
			addresses = append(addresses, endpoint.Addresses...)
		}
	}
	send(w, addresses)
}

func (s *supervisor) bootstrapServer(w http.ResponseWriter, _ *http.Request) {
	if !s.cluster.Etcd {
		http.Error(w, "this server was set up without cluster-init: no other server can join it", http.StatusConflict)
		return
	}
	files, err := readShared()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	send(w, bootstrap{Cluster: s.cluster, Files: files})
}

func send(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value)
}

func sendFile(w http.ResponseWriter, path string) {
	content, err := os.ReadFile(path)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(content)
}

// serve listens on the server's address until everything ends.
func (s *supervisor) serve(p *processes, address, certificate string) error {
	clients := x509.NewCertPool()
	pem, err := os.ReadFile(s.keys.client.path + ".crt")
	if err != nil {
		return err
	}
	clients.AppendCertsFromPEM(pem)
	server := &http.Server{
		Addr:    address + ":" + apiPort,
		Handler: s.handler(),
		// Bearer tokens are for the API server to judge; a certificate, where there is one, has to be of our making.
		TLSConfig:         &tls.Config{ClientCAs: clients, ClientAuth: tls.VerifyClientCertIfGiven, MinVersion: tls.VersionTLS12},
		ReadHeaderTimeout: 30 * time.Second,
		// Whoever looks whether the port is open shakes no hands, and is no news.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	go func() {
		p.fail(fmt.Errorf("port %s: %w", apiPort, server.ListenAndServeTLS(certificate+".crt", certificate+".key")))
	}()
	context.AfterFunc(p.context, func() { _ = server.Close() })
	return nil
}

// forward hands requests to the API server on loopback, and vouches, with a certificate that it trusts, for those whose
// certificate was checked here.
func forward(keys authorities, certificate string) (http.Handler, error) {
	own, err := tls.LoadX509KeyPair(certificate+".crt", certificate+".key")
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(keys.server.certificate)
	target := &url.URL{Scheme: "https", Host: "127.0.0.1:" + apiPort}
	return &httputil.ReverseProxy{
		FlushInterval: -1, // a watch is news as it happens
		ErrorLog:      log.New(io.Discard, "", 0),
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{own}, RootCAs: roots, MinVersion: tls.VersionTLS12},
			// HTTP/1.1 only: connections that change protocol, such as exec's, could not go through HTTP/2.
			TLSNextProto:        map[string]func(string, *tls.Conn) http.RoundTripper{},
			MaxIdleConnsPerHost: 100,
			DisableCompression:  true,
		},
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host
			for name := range r.Out.Header {
				if strings.HasPrefix(strings.ToLower(name), "x-remote-") {
					r.Out.Header.Del(name)
				}
			}
			if r.In.TLS == nil || len(r.In.TLS.VerifiedChains) == 0 {
				return
			}
			subject := r.In.TLS.VerifiedChains[0][0].Subject
			r.Out.Header.Set("X-Remote-User", subject.CommonName)
			r.Out.Header["X-Remote-Group"] = subject.Organization
		},
	}, nil
}
