// Command k3s is the lab's stand-in for the k3s binary: the same face, and upstream Kubernetes inside.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	"k8s.io/component-base/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

const usage = `k3s: the stand-in of courseload's lab

  k3s server     runs a server, which is a node too
  k3s agent      runs a node that joins a server
  k3s kubectl    talks to the cluster
  k3s ctr        talks to this node's containerd
  k3s etcd-snapshot save  leaves what the cluster's datastore holds in a file
  k3s certificate         lists this host's certificates (check --output=json), or removes them (rotate)
  k3s --version

server and agent read /etc/rancher/k3s/config.yaml and config.yaml.d/*.yaml; --help lists their options.
`

// components are the parts of Kubernetes, each run as a process of its own: this program, called with the part's name.
var components = map[string]func() *cobra.Command{
	"kube-apiserver":          apiserver.NewAPIServerCommand,
	"kube-controller-manager": controllers.NewControllerManagerCommand,
	"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
	"kube-proxy":              proxy.NewProxyCommand,
	"kubelet": func() *cobra.Command {
		tellWhenCertificatesEnd()
		return kubelet.NewKubeletCommand(context.Background())
	},
}

func main() {
	arguments := os.Args[1:]
	// k3s also answers to links to it that are called kubectl and ctr.
	if name := filepath.Base(os.Args[0]); name == "kubectl" || name == "ctr" {
		arguments = append([]string{name}, arguments...)
	}
	if len(arguments) == 0 {
		arguments = []string{"--help"}
	}
	if component, ok := components[arguments[0]]; ok {
		os.Args = arguments
		os.Exit(cli.Run(component()))
	}
	if err := run(arguments[0], arguments[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "k3s: %v\n", err)
		os.Exit(1)
	}
}

func run(command string, arguments []string) error {
	switch command {
	case "server", "agent":
		settings, err := load(command, arguments)
		if err != nil {
			return err
		}
		if command == "server" {
			return runServer(settings)
		}
		return runAgent(settings)
	case "kubectl":
		if os.Getenv("KUBECONFIG") == "" {
			if _, err := os.Stat(kubeconfigFile); err == nil {
				_ = os.Setenv("KUBECONFIG", kubeconfigFile)
			}
		}
		os.Args = append([]string{"kubectl"}, arguments...)
		if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
			util.CheckErr(err)
		}
		return nil
	case "ctr":
		return execCtr(arguments)
	case "etcd-snapshot":
		if len(arguments) == 0 || arguments[0] != "save" {
			return fmt.Errorf("etcd-snapshot can only save")
		}
		return saveSnapshot(arguments[1:])
	case "certificate":
		return manageCertificates(arguments)
	case "--version", "-v":
		fmt.Printf("k3s version %s (stand-in)\ngo version %s\n", version.Get().GitVersion, runtime.Version())
		return nil
	case "--help", "-h", "help":
		fmt.Print(usage)
		return nil
	}
	return fmt.Errorf("unknown command %q: server, agent, kubectl, ctr, etcd-snapshot, certificate or --version", command)
}

// execCtr becomes containerd's own client, on k3s's socket and in the namespace of the pods, unless told otherwise.
func execCtr(arguments []string) error {
	for variable, value := range map[string]string{"CONTAINERD_ADDRESS": containerdSocket, "CONTAINERD_NAMESPACE": "k8s.io"} {
		if os.Getenv(variable) == "" {
			_ = os.Setenv(variable, value)
		}
	}
	// Not by way of PATH, where ctr may be a link to this program.
	return syscall.Exec("/usr/bin/ctr", append([]string{"ctr"}, arguments...), os.Environ())
}
