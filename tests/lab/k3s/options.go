package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"sigs.k8s.io/yaml"
)

const (
	configFile      = "/etc/rancher/k3s/config.yaml"
	configDirectory = "/etc/rancher/k3s/config.yaml.d"
	kubeconfigFile  = "/etc/rancher/k3s/k3s.yaml"
)

type kind int

const (
	text kind = iota
	flag
	list
)

type option struct {
	kind kind
	// of is the command that the option is for, where only one has it.
	of string
}

// options are those of k3s that the stand-in obeys. Whatever else is asked for is refused: an option that is quietly
// left out would make the lab prove something that was not tried.
var options = map[string]option{
	"agent-token":                 {text, "server"},
	"agent-token-file":            {text, "server"},
	"cluster-cidr":                {text, "server"},
	"cluster-dns":                 {text, "server"},
	"cluster-domain":              {text, "server"},
	"cluster-init":                {flag, "server"},
	"disable":                     {list, "server"},
	"disable-network-policy":      {flag, "server"},
	"flannel-backend":             {text, "server"},
	"flannel-iface":               {text, ""},
	"kube-apiserver-arg":          {list, "server"},
	"kube-controller-manager-arg": {list, "server"},
	"kube-scheduler-arg":          {list, "server"},
	"kubelet-arg":                 {list, ""},
	"kube-proxy-arg":              {list, ""},
	"node-ip":                     {text, ""},
	"node-label":                  {list, ""},
	"node-name":                   {text, ""},
	"node-taint":                  {list, ""},
	"protect-kernel-defaults":     {flag, ""},
	"resolv-conf":                 {text, ""},
	"secrets-encryption":          {flag, "server"},
	"server":                      {text, ""},
	"service-cidr":                {text, "server"},
	"tls-san":                     {list, "server"},
	"token":                       {text, ""},
	"token-file":                  {text, ""},
	"write-kubeconfig-mode":       {text, "server"},
}

// fromEnvironment are the variables of k3s.service.env, which come after the files and before the command line.
var fromEnvironment = map[string]string{
	"K3S_TOKEN":            "token",
	"K3S_TOKEN_FILE":       "token-file",
	"K3S_AGENT_TOKEN":      "agent-token",
	"K3S_AGENT_TOKEN_FILE": "agent-token-file",
	"K3S_URL":              "server",
	"K3S_NODE_NAME":        "node-name",
	"K3S_KUBECONFIG_MODE":  "write-kubeconfig-mode",
}

// settings are the options' values; of a text or flag the last one counts.
type settings map[string][]string

func (s settings) text(name, otherwise string) string {
	if values := s[name]; len(values) > 0 {
		return values[len(values)-1]
	}
	return otherwise
}

func (s settings) flag(name string) bool {
	return s.text(name, "false") == "true"
}

// secret is a value given by itself or in a file, and "" where it is neither.
func (s settings) secret(name string) (string, error) {
	if value := s.text(name, ""); value != "" {
		return value, nil
	}
	path := s.text(name+"-file", "")
	if path == "" {
		return "", nil
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("%s-file: %w", name, err)
	}
	if value := strings.TrimSpace(string(content)); value != "" {
		return value, nil
	}
	return "", fmt.Errorf("%s-file: %s is empty", name, path)
}

// load reads the configuration file, those in its directory, the environment and the command line, in this order.
func load(command string, arguments []string) (settings, error) {
	if slices.Contains(arguments, "--help") {
		fmt.Println(strings.Join(known(command), "\n"))
		os.Exit(0)
	}
	s := settings{}
	files, err := filepath.Glob(configDirectory + "/*.y*ml")
	if err != nil {
		return nil, err
	}
	for _, path := range append([]string{configFile}, files...) {
		if err := s.readFile(command, path); err != nil {
			return nil, err
		}
	}
	for variable, name := range fromEnvironment {
		value := os.Getenv(variable)
		if option := options[name]; value == "" || (option.of != "" && option.of != command) {
			continue
		}
		if err := s.set(command, name, []string{value}, "the environment"); err != nil {
			return nil, err
		}
	}
	return s, s.readArguments(command, arguments)
}

func (s settings) readFile(command, path string) error {
	content, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	given := map[string]any{}
	if err := yaml.Unmarshal(content, &given); err != nil {
		return fmt.Errorf("%s is not YAML of options and values: %w", path, err)
	}
	for key, value := range given {
		name, more := strings.CutSuffix(key, "+")
		values, err := words(value)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", path, name, err)
		}
		if more {
			values = append(slices.Clone(s[name]), values...)
		}
		if err := s.set(command, name, values, path); err != nil {
			return err
		}
	}
	return nil
}

// words are the values of an option in YAML: one, or a list of them.
func words(value any) ([]string, error) {
	switch value := value.(type) {
	case nil:
		return nil, errors.New("has no value")
	case map[string]any:
		return nil, errors.New("takes a value or a list of values")
	case []any:
		var all []string
		for _, item := range value {
			one, err := words(item)
			if err != nil {
				return nil, err
			}
			all = append(all, one...)
		}
		return all, nil
	}
	return []string{fmt.Sprint(value)}, nil
}

// readArguments takes --name=value, --name value and, for flags, --name. Lists add to those of the files.
func (s settings) readArguments(command string, arguments []string) error {
	for len(arguments) > 0 {
		name, value, given := strings.Cut(strings.TrimLeft(arguments[0], "-"), "=")
		arguments = arguments[1:]
		switch {
		case given:
		case options[name].kind == flag:
			value = "true"
		case len(arguments) > 0:
			value, arguments = arguments[0], arguments[1:]
		}
		values := []string{value}
		if options[name].kind == list {
			values = append(slices.Clone(s[name]), value)
		}
		if err := s.set(command, name, values, "the command line"); err != nil {
			return err
		}
	}
	return nil
}

func (s settings) set(command, name string, values []string, where string) error {
	option, ok := options[name]
	switch {
	case !ok:
		return fmt.Errorf("unknown option %q in %s; `k3s %s --help` lists those that there are", name, where, command)
	case option.of != "" && option.of != command:
		return fmt.Errorf("option %q in %s is one of k3s %s, not of k3s %s", name, where, option.of, command)
	case option.kind != list && len(values) != 1:
		return fmt.Errorf("option %q in %s takes one value, not %d", name, where, len(values))
	case option.kind == flag && values[0] != "true" && values[0] != "false":
		return fmt.Errorf("option %q in %s is true or false, not %q", name, where, values[0])
	}
	s[name] = values
	return nil
}

func known(command string) []string {
	var names []string
	for name, option := range options {
		if option.of == "" || option.of == command {
			names = append(names, "--"+name)
		}
	}
	sort.Strings(names)
	return names
}
