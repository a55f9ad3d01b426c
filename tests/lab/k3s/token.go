package main

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"strings"
)

const tokenPrefix = "K10"

// token is what lets a node or a server join: K10<SHA-256 of the server's CA>::<user>:<secret>, or the secret alone.
type token struct {
	hash   string // 64 hexadecimal digits, or "" where the token is only a secret
	user   string // server or node
	secret string
}

// parseToken reads a token; a secret alone is that of `user`.
func parseToken(content, user string) (token, error) {
	long, ok := strings.CutPrefix(content, tokenPrefix)
	if !ok {
		return token{user: user, secret: content}, nil
	}
	hash, credentials, ok := strings.Cut(long, "::")
	name, secret, named := strings.Cut(credentials, ":")
	if !ok || !named || len(hash) != 2*sha256.Size || secret == "" {
		return token{}, fmt.Errorf("the token begins with %s but is not of the form %s<hash of the CA>::<user>:<secret>",
			tokenPrefix, tokenPrefix)
	}
	return token{hash: hash, user: name, secret: secret}, nil
}

func (t token) String() string {
	return tokenPrefix + t.hash + "::" + t.user + ":" + t.secret
}

// checkAuthority fails where the token was made for another cluster's CA (PEM). A short token cannot tell.
func (t token) checkAuthority(pem []byte, server string) error {
	if t.hash == "" || t.hash == hashOf(pem) {
		return nil
	}
	return fmt.Errorf("token CA hash does not match the cluster CA certificate hash: %s has %s and the token %s; "+
		"take the token from /var/lib/rancher/k3s/server/token of that server", server, hashOf(pem), t.hash)
}

func hashOf(pem []byte) string {
	sum := sha256.Sum256(pem)
	return hex.EncodeToString(sum[:])
}

func randomSecret() string {
	secret := make([]byte, 16)
	_, _ = rand.Read(secret) // it does not fail, says its documentation
	return hex.EncodeToString(secret)
}

func same(a, b string) bool {
	return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1
}
