package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// self is this program, also when a newer one has taken its place on the disk.
const self = "/proc/self/exe"

// stopTime is what a part gets to end by itself before it is killed.
const stopTime = 10 * time.Second

// processes are the parts that live and die with this program: when one ends, all do, and systemd starts k3s again.
type processes struct {
	context context.Context
	fail    context.CancelCauseFunc
	running sync.WaitGroup
}

// newProcesses also ends everything on SIGTERM and SIGINT, without an error.
func newProcesses() *processes {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-signals
		cancel(nil)
	}()
	return &processes{context: ctx, fail: cancel}
}

// start runs a program until it ends or everything does; its own name comes first in the arguments.
func (p *processes) start(path string, arguments ...string) {
	p.startWith(os.Environ(), path, arguments...)
}

// startWith does so in another environment.
func (p *processes) startWith(environment []string, path string, arguments ...string) {
	p.running.Add(1)
	go func() {
		defer p.running.Done()
		// The kernel kills a child when the thread that started it ends, so that one has to stay.
		runtime.LockOSThread()
		command := exec.CommandContext(p.context, path)
		command.Args, command.Env = arguments, environment
		command.Stdout, command.Stderr = os.Stdout, os.Stderr
		command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
		command.WaitDelay = stopTime
		err := command.Run()
		if p.context.Err() == nil {
			p.fail(fmt.Errorf("%s ended: %v", strings.Join(arguments[:min(2, len(arguments))], " "), err))
		}
	}()
}

// startPart runs a part of Kubernetes. `more` are kubelet-arg and the like, of the form name=value; the last one counts.
func (p *processes) startPart(part string, flags map[string]string, more ...string) {
	arguments := []string{"k3s", part}
	for name, value := range flags {
		arguments = append(arguments, "--"+name+"="+value)
	}
	for _, argument := range more {
		arguments = append(arguments, "--"+strings.TrimLeft(argument, "-"))
	}
	p.start(self, arguments...)
}

// every runs work now and then until everything ends; an error is logged when it is another than the last.
func (p *processes) every(pause time.Duration, what string, work func(context.Context) error) {
	go func() {
		last := ""
		for p.context.Err() == nil {
			now := ""
			if err := work(p.context); err != nil {
				now = err.Error()
			}
			if now != last && now != "" && p.context.Err() == nil {
				log.Printf("%s: %s", what, now)
			}
			last = now
			sleep(p.context, pause)
		}
	}()
}

// wait returns when everything has ended: nil after a signal, else why.
func (p *processes) wait() error {
	<-p.context.Done()
	notify("STOPPING=1")
	p.running.Wait()
	if cause := context.Cause(p.context); cause != context.Canceled {
		return cause
	}
	return nil
}

// until tries something once a second until it works; each new reason for waiting is logged.
func until(ctx context.Context, what string, try func(context.Context) error) error {
	last := ""
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if final, ok := err.(refused); ok {
			return final
		}
		if err.Error() != last {
			last = err.Error()
			log.Printf("waiting for %s: %s", what, last)
		}
		sleep(ctx, time.Second)
	}
}

// refused is an error that trying again does not mend.
type refused struct{ error }

func sleep(ctx context.Context, pause time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(pause):
	}
}

// notifySocket is this program's alone: its parts would say that they are ready, and mean themselves.
var notifySocket = takeVariable("NOTIFY_SOCKET")

func takeVariable(name string) string {
	value := os.Getenv(name)
	_ = os.Unsetenv(name)
	return value
}

// notify tells systemd what state this service is in; without systemd it does nothing.
func notify(state string) {
	if notifySocket == "" {
		return
	}
	connection, err := net.Dial("unixgram", notifySocket)
	if err != nil {
		log.Printf("systemd is not told %s: %v", state, err)
		return
	}
	defer connection.Close()
	_, _ = connection.Write([]byte(state))
}
