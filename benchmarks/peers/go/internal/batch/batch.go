// Package batch groups what arrives while a write is on its way: it goes together as the next one (group commit).
package batch

import (
	"context"
	"errors"
	"time"
)

const (
	size     = 512                     // items in a write, at most
	queue    = 4096                    // items that wait, at most
	deadline = 1500 * time.Millisecond // a write is tried again for so long
	pause    = 50 * time.Millisecond
)

// ErrFull is what an item meets when too many wait already.
var ErrFull = errors.New("too many notes are waiting for the database")

// Write stores items. It returns why an item was not stored, by index, or an error if the outcome of any is unknown: then
// the same items come again.
type Write[T any] func(ctx context.Context, items []T) (map[int]error, error)

// Writer stores items in groups.
type Writer[T any] struct {
	waiting chan entry[T]
	write   Write[T]
}

type entry[T any] struct {
	item T
	done chan error
}

// NewWriter starts a writer with so many writes at a time.
func NewWriter[T any](write Write[T], atOnce int) *Writer[T] {
	w := &Writer[T]{waiting: make(chan entry[T], queue), write: write}
	for range atOnce {
		go w.run()
	}
	return w
}

// Store returns once the item is stored, or with the reason why it is not.
func (w *Writer[T]) Store(ctx context.Context, item T) error {
	e := entry[T]{item, make(chan error, 1)}
	select {
	case w.waiting <- e:
	default:
		return ErrFull
	}
	select {
	case err := <-e.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *Writer[T]) run() {
	items, done := make([]T, 0, size), make([]chan error, 0, size)
	for first := range w.waiting {
		items, done = append(items[:0], first.item), append(done[:0], first.done)
		for more := true; more && len(items) < size; {
			select {
			case next := <-w.waiting:
				items, done = append(items, next.item), append(done, next.done)
			default:
				more = false
			}
		}
		failures, err := w.try(items)
		for i := range done {
			if err != nil {
				done[i] <- err
			} else {
				done[i] <- failures[i]
			}
		}
	}
}

func (w *Writer[T]) try(items []T) (map[int]error, error) {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	for {
		failures, err := w.write(ctx, items)
		if err == nil {
			return failures, nil
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(pause):
		}
	}
}
