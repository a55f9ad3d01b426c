package main

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
)

const (
	imagesDirectory = agentDirectory + "/images"
	lookForImages   = 5 * time.Second
)

// importImages imports every archive in the images directory, and from then on those that come or change.
func importImages(p *processes) error {
	if err := os.MkdirAll(imagesDirectory, 0o755); err != nil {
		return err
	}
	imported := map[string]string{}
	if err := importNew(p.context, imported); err != nil {
		log.Printf("images: %v", err)
	}
	p.every(lookForImages, "images", func(ctx context.Context) error { return importNew(ctx, imported) })
	return nil
}

// importNew imports the archives that are not in `imported` as they are now: by path, their size and time.
func importNew(ctx context.Context, imported map[string]string) error {
	var failed error
	entries, err := os.ReadDir(imagesDirectory)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		path := filepath.Join(imagesDirectory, entry.Name())
		info, err := os.Stat(path)
		if err != nil || info.IsDir() || opener(path) == nil {
			continue
		}
		state := fmt.Sprint(info.Size(), info.ModTime())
		if imported[path] == state {
			continue
		}
		// One that is bad, or is still on its way, does not hold up the others.
		if err := importArchive(ctx, path); err != nil {
			failed = fmt.Errorf("%s: %w", path, err)
			continue
		}
		imported[path] = state
		log.Printf("imported the images of %s", path)
	}
	return failed
}

func importArchive(ctx context.Context, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	content, err := opener(path)(file)
	if err != nil {
		return err
	}
	defer content.Close()
	command := exec.CommandContext(ctx, "ctr", "--address", containerdSocket, "--namespace", "k8s.io", "images", "import", "-")
	command.Stdin = content
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(output)))
	}
	return nil
}

// opener tells how an archive with such a name is unpacked; nil if it is none.
func opener(path string) func(io.Reader) (io.ReadCloser, error) {
	switch {
	case strings.HasSuffix(path, ".tar"):
		return func(r io.Reader) (io.ReadCloser, error) { return io.NopCloser(r), nil }
	case strings.HasSuffix(path, ".tar.gz"), strings.HasSuffix(path, ".tgz"):
		return func(r io.Reader) (io.ReadCloser, error) { return gzip.NewReader(r) }
	case strings.HasSuffix(path, ".tar.zst"), strings.HasSuffix(path, ".tzst"):
		return func(r io.Reader) (io.ReadCloser, error) {
			reader, err := zstd.NewReader(r)
			if err != nil {
				return nil, err
			}
			return reader.IOReadCloser(), nil
		}
	}
	return nil
}
