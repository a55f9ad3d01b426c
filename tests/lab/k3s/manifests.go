package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
	"time"
)

const (
	manifestsDirectory = serverDirectory + "/manifests"
	lookForManifests   = 5 * time.Second
)

// packaged are what k3s brings along and `disable` leaves out; those without a manifest here are not in the stand-in.
var packaged = []string{"coredns", "local-storage", "metrics-server", "servicelb", "traefik"}

// The versions of the packaged images, set when this program is built.
var coreDNSVersion, metricsServerVersion string

//go:embed manifests/*.yaml
var manifests embed.FS

// disabled reads which packaged parts are not wanted.
func disabled(s settings) ([]string, error) {
	var skip []string
	for _, value := range s["disable"] {
		for _, name := range strings.Split(value, ",") {
			if !slices.Contains(packaged, name) {
				return nil, fmt.Errorf("disable: there is no %q, only %s", name, strings.Join(packaged, ", "))
			}
			skip = append(skip, name)
		}
	}
	return skip, nil
}

// deploy keeps the cluster as the manifests directory says: the packaged ones, and what people put there. A file that is
// removed removes nothing.
func deploy(p *processes, c cluster, own node, skip []string) {
	written, labelled := false, false
	applied := map[string][sha256.Size]byte{}
	p.every(lookForManifests, "manifests", func(ctx context.Context) error {
		if !written {
			if err := writePackaged(ctx, c, skip); err != nil {
				return err
			}
			written = true
		}
		if err := applyNew(ctx, applied); err != nil || labelled {
			return err
		}
		err := labelServer(ctx, own, c)
		labelled = err == nil
		return err
	})
}

// writePackaged puts the packaged manifests where k3s has them, and removes from the cluster what is disabled.
func writePackaged(ctx context.Context, c cluster, skip []string) error {
	if err := os.MkdirAll(manifestsDirectory, 0o700); err != nil {
		return err
	}
	all, err := template.ParseFS(manifests, "manifests/*.yaml")
	if err != nil {
		return err
	}
	values := struct {
		cluster
		CoreDNS, MetricsServer string
	}{c, coreDNSVersion, metricsServerVersion}
	for _, one := range all.Templates() {
		var content bytes.Buffer
		if err := one.Execute(&content, values); err != nil {
			return err
		}
		path := filepath.Join(manifestsDirectory, one.Name())
		if slices.Contains(skip, strings.TrimSuffix(one.Name(), ".yaml")) {
			_ = os.Remove(path)
			if err := talk(ctx, content.Bytes(), "delete", "--ignore-not-found", "--wait=false", "-f", "-"); err != nil {
				return err
			}
		} else if err := os.WriteFile(path, content.Bytes(), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// applyNew applies the manifests that are not in `applied` as they are now. One that fails does not hold up the others.
func applyNew(ctx context.Context, applied map[string][sha256.Size]byte) error {
	var failed error
	paths, err := filepath.Glob(manifestsDirectory + "/*")
	if err != nil {
		return err
	}
	for _, path := range paths {
		if !slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(path)) || exists(path+".skip") {
			continue
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(content)
		if applied[path] == sum {
			continue
		}
		if err := talk(ctx, content, "apply", "--server-side", "--force-conflicts", "--field-manager=k3s", "-f", "-"); err != nil {
			failed = fmt.Errorf("%s: %w", path, err)
			continue
		}
		applied[path] = sum
	}
	return failed
}

// labelServer says which nodes are servers; a node may not give itself such labels.
func labelServer(ctx context.Context, own node, c cluster) error {
	labels := []string{"node-role.kubernetes.io/control-plane=true"}
	if c.Etcd {
		labels = append(labels, "node-role.kubernetes.io/etcd=true")
	}
	return talk(ctx, nil, append([]string{"label", "--overwrite", "node", own.name}, labels...)...)
}

// talk runs kubectl as the cluster's administrator.
func talk(ctx context.Context, input []byte, arguments ...string) error {
	command := exec.CommandContext(ctx, self, append([]string{"kubectl", "--kubeconfig", kubeconfigFile}, arguments...)...)
	command.Stdin = bytes.NewReader(input)
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(output)))
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
