package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"
)

const registriesFile = "/etc/rancher/k3s/registries.yaml"

// writeRegistries turns the mirrors of registries.yaml into what containerd reads. Anything but mirrors is refused.
func writeRegistries() error {
	if err := os.RemoveAll(registryDirectory); err != nil {
		return err
	}
	content, err := os.ReadFile(registriesFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	var registries struct {
		Mirrors map[string]struct {
			Endpoint []string `json:"endpoint"`
		} `json:"mirrors"`
	}
	if err := yaml.UnmarshalStrict(content, &registries); err != nil {
		return fmt.Errorf("%s: the stand-in knows mirrors and their endpoints: %w", registriesFile, err)
	}
	for registry, mirror := range registries.Mirrors {
		var hosts strings.Builder
		for _, endpoint := range mirror.Endpoint {
			fmt.Fprintf(&hosts, "[host.%q]\ncapabilities = [\"pull\", \"resolve\"]\n", endpoint)
		}
		if registry == "*" {
			registry = "_default"
		}
		directory := filepath.Join(registryDirectory, registry)
		if err := os.MkdirAll(directory, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(directory, "hosts.toml"), []byte(hosts.String()), 0o644); err != nil {
			return err
		}
	}
	return nil
}
