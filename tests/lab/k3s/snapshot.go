package main

import (
	"context"
	commandline "flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const snapshotTimeout = 2 * time.Minute

// saveSnapshot leaves what etcd holds in a file, while it runs: its name is the one given, the node's, and the time, as k3s
// has it. The file is whole or not there.
func saveSnapshot(arguments []string) error {
	flags := commandline.NewFlagSet("etcd-snapshot save", commandline.ContinueOnError)
	name := flags.String("name", "on-demand", "how the name of the file begins")
	directory := flags.String("dir", serverDirectory+"/db/snapshots", "where it goes")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	s, err := load("server", nil)
	if err != nil {
		return err
	}
	node, err := os.Hostname()
	if err != nil {
		return err
	}
	etcd := store{certificate: tlsDirectory + "/etcd/member", authority: tlsDirectory + "/etcd/ca"}
	client, err := etcd.client("127.0.0.1")
	if err != nil {
		return err
	}
	defer client.Close()
	if err := os.MkdirAll(*directory, 0o700); err != nil {
		return err
	}
	file := fmt.Sprintf("%s-%s-%d", *name, s.text("node-name", node), time.Now().Unix())
	return writeSnapshot(client, filepath.Join(*directory, file))
}

func writeSnapshot(client *clientv3.Client, path string) error {
	ctx, cancel := context.WithTimeout(context.Background(), snapshotTimeout)
	defer cancel()
	content, err := client.Snapshot(ctx)
	if err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	defer content.Close()
	file, err := os.OpenFile(path+".part", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err := io.Copy(file, content); err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	if err := file.Close(); err != nil {
		return err
	}
	return os.Rename(path+".part", path)
}
