// Command probe is the program of the lab's test pods: it serves its host's name, tells what it reaches, and keeps files.
//
//	probe serve ADDRESS    answers HTTP requests with the pod's name
//	probe get URL          prints the answer
//	probe lookup NAME      prints the addresses
//	probe write FILE TEXT  writes a file that only its user can read
//	probe read FILE        prints it
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// patience is what a question gets: longer than a slow answer, far shorter than a test.
const patience = 4 * time.Second

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) < 2 {
		return errors.New("serve ADDRESS, get URL, lookup NAME, read FILE or write FILE TEXT")
	}
	switch arguments[0] {
	case "serve":
		return http.ListenAndServe(arguments[1], http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			name, _ := os.Hostname()
			_, _ = fmt.Fprintln(w, name)
		}))
	case "get":
		response, err := (&http.Client{Timeout: patience}).Get(arguments[1])
		if err != nil {
			return err
		}
		defer response.Body.Close()
		_, err = io.Copy(os.Stdout, response.Body)
		return err
	case "read":
		content, err := os.ReadFile(arguments[1])
		_, _ = os.Stdout.Write(content)
		return err
	case "write":
		return os.WriteFile(arguments[1], []byte(strings.Join(arguments[2:], " ")), 0o600)
	case "lookup":
		limited, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		addresses, err := net.DefaultResolver.LookupHost(limited, arguments[1])
		for _, address := range addresses {
			fmt.Println(address)
		}
		return err
	}
	return fmt.Errorf("unknown command %q", arguments[0])
}
