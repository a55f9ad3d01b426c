package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	authorityLifetime   = 10 * 365 * 24 * time.Hour
	certificateLifetime = 365 * 24 * time.Hour
	renewalTime         = 120 * 24 * time.Hour // before its end, in which a start renews a certificate
)

// authority signs certificates. It lies in two files, <path>.crt and <path>.key.
type authority struct {
	path        string
	certificate *x509.Certificate
	key         crypto.Signer
}

// openAuthority reads an authority, or makes it where there is none.
func openAuthority(path string) (authority, error) {
	key, err := openKey(path + ".key")
	if err != nil {
		return authority{}, err
	}
	certificate, err := readCertificate(path + ".crt")
	if errors.Is(err, os.ErrNotExist) {
		certificate, err = makeAuthority(path, key)
	}
	return authority{path, certificate, key}, err
}

func makeAuthority(path string, key crypto.Signer) (*x509.Certificate, error) {
	template := newTemplate(pkix.Name{CommonName: fmt.Sprintf("k3s-%s@%d", filepath.Base(path), time.Now().Unix())}, authorityLifetime)
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	content := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(path+".crt", content, 0o644); err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func newTemplate(subject pkix.Name, lifetime time.Duration) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      subject,
		// Clocks of hosts differ a little.
		NotBefore: time.Now().Add(-time.Hour),
		NotAfter:  time.Now().Add(lifetime),
	}
}

// sign returns a certificate (PEM) for servers and clients; hosts are names and addresses.
func (a authority) sign(subject pkix.Name, key crypto.PublicKey, hosts ...string) ([]byte, error) {
	template := newTemplate(subject, certificateLifetime)
	template.KeyUsage = x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key, a.key)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), err
}

// issue writes a certificate and its key to <path>.crt and <path>.key; hosts are names and addresses. One that is there stays
// until its end is near, or it is to be for something else. A key that is there stays in any case.
func (a authority) issue(path string, subject pkix.Name, hosts ...string) error {
	key, err := openKey(path + ".key")
	if err != nil {
		return err
	}
	if found, err := readCertificate(path + ".crt"); err == nil && a.stillGood(found, key.Public(), subject, hosts) {
		return nil
	}
	certificate, err := a.sign(subject, key.Public(), hosts...)
	if err != nil {
		return err
	}
	return os.WriteFile(path+".crt", certificate, 0o644)
}

// stillGood says whether a certificate is one of this authority's for all that is wanted, and not near its end.
func (a authority) stillGood(found *x509.Certificate, key crypto.PublicKey, subject pkix.Name, hosts []string) bool {
	public, ok := found.PublicKey.(*ecdsa.PublicKey)
	return ok && public.Equal(key) &&
		found.CheckSignatureFrom(a.certificate) == nil &&
		time.Until(found.NotAfter) > renewalTime &&
		found.Subject.String() == subject.String() &&
		!slices.ContainsFunc(hosts, func(host string) bool { return found.VerifyHostname(host) != nil })
}

// readCertificate reads the first certificate of a file.
func readCertificate(path string) (*x509.Certificate, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(content)
	if block == nil {
		return nil, fmt.Errorf("%s is not a certificate", path)
	}
	return x509.ParseCertificate(block.Bytes)
}

// openKey reads a private key, or makes it where there is none.
func openKey(path string) (crypto.Signer, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return makeKey(path)
	} else if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(content)
	if block == nil {
		return nil, fmt.Errorf("%s is not a private key", path)
	}
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}

func makeKey(path string) (crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	return key, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600)
}

// request asks for a certificate for a key: a CSR (PEM), whose subject the server chooses.
func request(key crypto.Signer) ([]byte, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), err
}

// requested is the public key of a CSR (PEM) whose sender holds the private one.
func requested(content []byte) (crypto.PublicKey, error) {
	block, _ := pem.Decode(content)
	if block == nil {
		return nil, errors.New("not a certificate request")
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, err
	}
	return csr.PublicKey, csr.CheckSignature()
}
