package main

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/legacyregistry"
)

// lookAtCertificatesEvery is how often k3s looks when they end.
const lookAtCertificatesEvery = 30 * time.Minute

// listedCertificate is one as `k3s certificate check` lists it.
type listedCertificate struct {
	Filename     string
	Subject      string
	Issuer       string
	Usages       []string
	ExpiryTime   time.Time
	ResidualTime time.Duration
	Status       string
}

// manageCertificates is `k3s certificate`: check lists those of this host, rotate removes them.
func manageCertificates(arguments []string) error {
	switch strings.Join(arguments, " ") {
	case "check --output=json":
		return listCertificates()
	case "rotate":
		return rotateCertificates()
	}
	return fmt.Errorf("certificate can only check --output=json, and rotate")
}

// certificatesHere are the certificates of this host by their files. Where k3s has the authority in the file of each
// certificate, here it has one of its own.
func certificatesHere() (map[string]*x509.Certificate, error) {
	found := map[string]*x509.Certificate{}
	for _, directory := range []string{tlsDirectory, tlsDirectory + "/etcd", agentDirectory} {
		files, err := filepath.Glob(directory + "/*.crt")
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			if found[file], err = readCertificate(file); err != nil {
				return nil, err
			}
		}
	}
	return found, nil
}

func listCertificates() error {
	found, err := certificatesHere()
	if err != nil {
		return err
	}
	var listed []listedCertificate
	for file, certificate := range found {
		left := time.Until(certificate.NotAfter)
		status := "OK"
		if left < 0 {
			status = "EXPIRED"
		} else if left < renewalTime {
			status = "WARNING"
		}
		listed = append(listed, listedCertificate{
			Filename: filepath.Base(file), Subject: certificate.Subject.CommonName, Issuer: certificate.Issuer.CommonName,
			Usages: usagesOf(certificate), ExpiryTime: certificate.NotAfter, ResidualTime: left, Status: status,
		})
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"Certificates": listed})
}

// usagesOf are what a certificate is for, in k3s's words.
func usagesOf(certificate *x509.Certificate) []string {
	if certificate.IsCA {
		return []string{"CertSign"}
	}
	var usages []string
	if slices.Contains(certificate.ExtKeyUsage, x509.ExtKeyUsageServerAuth) {
		usages = append(usages, "ServerAuth")
	}
	if slices.Contains(certificate.ExtKeyUsage, x509.ExtKeyUsageClientAuth) {
		usages = append(usages, "ClientAuth")
	}
	return usages
}

// rotateCertificates puts the certificates of this host, and their keys, aside: the next start makes others. The authorities
// stay.
func rotateCertificates() error {
	found, err := certificatesHere()
	if err != nil {
		return err
	}
	directory := agentDirectory
	if _, err := os.Stat(serverDirectory); err == nil {
		directory = serverDirectory
	}
	aside := fmt.Sprintf("%s/tls-%d", directory, time.Now().Unix())
	if err := os.MkdirAll(aside, 0o700); err != nil {
		return err
	}
	for file, certificate := range found {
		if certificate.IsCA {
			continue
		}
		for _, path := range []string{file, strings.TrimSuffix(file, ".crt") + ".key"} {
			if err := os.Rename(path, filepath.Join(aside, filepath.Base(path))); err != nil {
				return err
			}
		}
	}
	return nil
}

// tellWhenCertificatesEnd adds a metric of k3s to those of the kubelet, which in k3s has the page of the whole process.
func tellWhenCertificatesEnd() {
	left := metrics.NewGaugeVec(&metrics.GaugeOpts{
		Name: "k3s_certificate_expiration_seconds",
		Help: "Remaining lifetime in seconds of the certificate, labeled by certificate subject and usages.",
	}, []string{"subject", "usages"})
	legacyregistry.MustRegister(left)
	go func() {
		for ; ; time.Sleep(lookAtCertificatesEvery) {
			found, err := certificatesHere()
			if err != nil {
				log.Printf("certificates: %v", err)
			}
			for _, certificate := range found {
				labels := []string{certificate.Subject.String(), strings.Join(usagesOf(certificate), ",")}
				left.WithLabelValues(labels...).Set(time.Until(certificate.NotAfter).Seconds())
			}
		}
	}()
}
