// Command airgap packs programs as container images into one archive, as `docker save` does: an image for each program,
// with nothing else in it.
//
//	airgap ARCHIVE.tar.zst IMAGE:TAG=PROGRAM...
package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/klauspost/compress/zstd"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: airgap ARCHIVE.tar.zst IMAGE:TAG=PROGRAM...")
		os.Exit(2)
	}
	if err := pack(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "airgap:", err)
		os.Exit(1)
	}
}

func pack(path string, images []string) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	compressed, err := zstd.NewWriter(file)
	if err != nil {
		return err
	}
	archive := tar.NewWriter(compressed)
	var index []map[string]any
	for _, image := range images {
		name, program, ok := strings.Cut(image, "=")
		if !ok {
			return fmt.Errorf("%q is not of the form IMAGE:TAG=PROGRAM", image)
		}
		entry, err := add(archive, name, program)
		if err != nil {
			return err
		}
		index = append(index, entry)
	}
	content, err := json.Marshal(index)
	if err != nil {
		return err
	}
	if err := write(archive, "manifest.json", content, 0o644); err != nil {
		return err
	}
	if err := archive.Close(); err != nil {
		return err
	}
	return compressed.Close()
}

// add writes one image and returns its entry in the archive's index.
func add(archive *tar.Writer, name, program string) (map[string]any, error) {
	content, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	var layer bytes.Buffer
	root := tar.NewWriter(&layer)
	if err := write(root, filepath.Base(program), content, 0o755); err != nil {
		return nil, err
	}
	if err := root.Close(); err != nil {
		return nil, err
	}
	configuration, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"config":       map[string]any{"Entrypoint": []string{"/" + filepath.Base(program)}, "Env": []string{"PATH=/"}},
		"rootfs":       map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + digest(layer.Bytes())}},
	})
	if err != nil {
		return nil, err
	}
	layerFile, configurationFile := digest(layer.Bytes())+"/layer.tar", digest(configuration)+".json"
	if err := write(archive, layerFile, layer.Bytes(), 0o644); err != nil {
		return nil, err
	}
	return map[string]any{"Config": configurationFile, "RepoTags": []string{name}, "Layers": []string{layerFile}},
		write(archive, configurationFile, configuration, 0o644)
}

func write(archive *tar.Writer, name string, content []byte, mode int64) error {
	if err := archive.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: int64(len(content))}); err != nil {
		return err
	}
	_, err := archive.Write(content)
	return err
}

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}
