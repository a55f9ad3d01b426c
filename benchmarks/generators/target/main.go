// Target answers each POST /course at once as a route of courseload does, and stores nothing: what it is asked by is
// measured, not it. A GET tells how many notes it has answered.
package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync/atomic"
)

var answered atomic.Int64

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		go serve(connection)
	}
}

// serve answers one request after the other. It reads no more of HTTP than generators send: a head of lines that end in
// CR and LF, and a body whose Content-Length is told.
func serve(connection net.Conn) {
	defer connection.Close()
	reader := bufio.NewReaderSize(connection, 4096)
	answer := make([]byte, 0, 512)
	for {
		asks, key, length, err := readHead(reader)
		if err != nil {
			return
		}
		if _, err := io.CopyN(io.Discard, reader, length); err != nil {
			return
		}
		if asks {
			count := strconv.FormatInt(answered.Load(), 10)
			answer = fmt.Appendf(answer[:0], "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(count), count)
		} else {
			route := "relay"
			if answered.Add(1)%2 == 0 {
				route = "direct"
			}
			answer = appendCreated(answer[:0], key, route)
		}
		if _, err := connection.Write(answer); err != nil {
			return
		}
	}
}

// appendCreated appends what a route answers: the id is what the Idempotency-Key fixes.
func appendCreated(answer []byte, key [sha256.Size]byte, route string) []byte {
	answer = append(answer, "HTTP/1.1 201 Created\r\nx-route: "...)
	answer = append(answer, route...)
	answer = append(answer, "\r\ncontent-type: application/json\r\ncontent-length: "...)
	answer = strconv.AppendInt(answer, int64(len(`{"id":"","route":""}`)+24+len(route)), 10)
	answer = append(answer, "\r\n\r\n{\"id\":\""...)
	answer = hex.AppendEncode(answer, key[:12])
	answer = append(answer, `","route":"`...)
	answer = append(answer, route...)
	return append(answer, `"}`...)
}

// readHead reads a request up to its body: whether it is a GET, the hash of its key, and the length of its body.
func readHead(reader *bufio.Reader) (asks bool, key [sha256.Size]byte, length int64, err error) {
	for first := true; ; first = false {
		line, err := reader.ReadSlice('\n')
		if err != nil {
			return asks, key, length, err
		}
		line = bytes.TrimRight(line, "\r\n")
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch {
		case first:
			asks = bytes.HasPrefix(line, []byte("GET "))
		case len(line) == 0:
			return asks, key, length, nil
		case bytes.EqualFold(name, []byte("idempotency-key")):
			key = sha256.Sum256(bytes.TrimSpace(value))
		case bytes.EqualFold(name, []byte("content-length")):
			if length, err = strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64); err != nil {
				return asks, key, length, err
			}
		}
	}
}
