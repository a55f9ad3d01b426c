// Command probe is the program of the lab's test pods: it serves its host's name, and tells what it reaches.
//
//	probe serve ADDRESS    answers HTTP requests with the pod's name
//	probe get URL          prints the answer
//	probe lookup NAME      prints the addresses
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
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
	if len(arguments) != 2 {
		return errors.New("serve ADDRESS, get URL or lookup NAME")
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
