package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

const joinTimeout = 10 * time.Second

// member is what a joining node or server knows of the cluster: a server, its CA, and the token.
type member struct {
	server string // https://10.0.0.1:6443
	token  token
	client *http.Client
}

// meet fetches a server's CA and checks it, and then the secret, before anything else is believed or told. It waits for
// a server that does not answer yet.
func meet(ctx context.Context, server string, t token) (*member, error) {
	m := &member{server: strings.TrimRight(server, "/"), token: t}
	err := until(ctx, "the server "+server, func(ctx context.Context) error {
		// Who answers is checked a moment later, by the hash in the token.
		anyone := &http.Client{Timeout: joinTimeout, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
		defer anyone.CloseIdleConnections()
		m.client = anyone
		pem, err := m.call(ctx, http.MethodGet, "/cacerts", nil)
		if err != nil {
			return err
		}
		if err := t.checkAuthority(pem, server); err != nil {
			return refused{err}
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(pem)
		m.client = &http.Client{Timeout: joinTimeout, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
		return nil
	})
	return m, err
}

// ask sends a question (nil for none) as JSON and reads the answer; it waits for a server that cannot answer yet.
func (m *member) ask(ctx context.Context, method, path string, question, answer any) error {
	body, err := json.Marshal(question)
	if err != nil {
		return err
	}
	return until(ctx, m.server, func(ctx context.Context) error {
		content, err := m.call(ctx, method, path, body)
		if err != nil {
			return err
		}
		return json.Unmarshal(content, answer)
	})
}

func (m *member) call(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	asked, err := http.NewRequestWithContext(ctx, method, m.server+path, bytes.NewReader(body))
	if err != nil {
		return nil, refused{err}
	}
	// The secret is for who has shown to be the server, and /cacerts comes before that.
	if path != "/cacerts" {
		asked.SetBasicAuth(m.token.user, m.token.secret)
	}
	response, err := m.client.Do(asked)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	said := strings.TrimSpace(string(content))
	switch response.StatusCode {
	case http.StatusOK:
		return content, nil
	case http.StatusUnauthorized:
		return nil, refused{fmt.Errorf("%s refuses the token (not authorized): take it from /var/lib/rancher/k3s/server/token of "+
			"that server; a node may join with agent-token as well", m.server)}
	case http.StatusConflict:
		return nil, refused{fmt.Errorf("%s: %s", m.server, said)}
	}
	return nil, fmt.Errorf("%s%s: %s: %s", m.server, path, response.Status, said)
}
