package main

import (
	"context"
	"time"

	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
)

const (
	// together are the changes that are acted on at once.
	together = 200 * time.Millisecond
	// tryAgain is the pause after work that failed.
	tryAgain = 2 * time.Second
)

// onChange runs work when everything that the informers of `factory` watch is known, and then whenever it changes.
func onChange(p *processes, what string, factory informers.SharedInformerFactory, watched []cache.SharedIndexInformer,
	work func(context.Context) error) {
	changed := make(chan struct{}, 1)
	note := func() {
		select {
		case changed <- struct{}{}:
		default: // it is known already
		}
	}
	note()
	for _, informer := range watched {
		_, _ = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(any) { note() },
			UpdateFunc: func(any, any) { note() },
			DeleteFunc: func(any) { note() },
		})
	}
	factory.Start(p.context.Done())
	p.every(together, what, func(ctx context.Context) error {
		factory.WaitForCacheSync(ctx.Done())
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
		err := work(ctx)
		if err != nil {
			time.AfterFunc(tryAgain, note)
		}
		return err
	})
}
