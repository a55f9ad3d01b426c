// Package counters is what Redis keeps of the notes: the latest ones, and counters by each field. The script that counts
// a batch, once, is courseload's own (services/direct/apply.lua), so that Redis keeps and remembers the same.
package counters

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/vmihailenco/msgpack/v5"

	"courseload/benchmarks/peers/internal/course"
)

// What the script is told to keep, as courseload tells it.
const (
	latestNotes = 100
	texts       = 1000
	processes   = 1000
	exceptions  = 10_000
)

const processDigits = 16 // of a batch's name; the others are its number

var keys = []string{
	"notes:latest", "notes:count", "notes:count:curso", "notes:count:facultad", "notes:count:carrera", "notes:count:region",
	"notes:batches", "notes:batches:used", "notes:batches:except", "notes:batches:forgotten",
}

// Counters counts batches of notes.
type Counters struct {
	client  *redis.Client
	script  *redis.Script
	process string
	number  atomic.Uint64
}

// Connect uses REDIS_URL, and the script in the file APPLY_LUA.
func Connect() (*Counters, error) {
	settings, err := redis.ParseURL(os.Getenv("REDIS_URL"))
	if err != nil {
		return nil, err
	}
	script, err := os.ReadFile(os.Getenv("APPLY_LUA"))
	if err != nil {
		return nil, err
	}
	random := make([]byte, 4)
	if _, err := rand.Read(random); err != nil {
		return nil, err
	}
	process := fmt.Sprintf("%08x%s", time.Now().Unix(), hex.EncodeToString(random))
	return &Counters{client: redis.NewClient(settings), script: redis.NewScript(string(script)), process: process}, nil
}

// Ping tells whether Redis answers.
func (c *Counters) Ping(ctx context.Context) error { return c.client.Ping(ctx).Err() }

// NextBatch is a name that no other batch has.
func (c *Counters) NextBatch() string { return fmt.Sprintf("%s%010x", c.process, c.number.Add(1)) }

// Count counts a batch, once. It is an error if the batch was burnt.
func (c *Counters) Count(ctx context.Context, batch string, notes []course.Note) error {
	process, number, err := parts(batch)
	if err != nil {
		return err
	}
	counts := [4]map[string]int{{}, {}, {}, {}}
	for _, note := range notes {
		counts[0][note.Curso]++
		counts[1][note.Facultad]++
		counts[2][note.Carrera]++
		counts[3][note.Region]++
	}
	latest, err := latestOf(notes)
	if err != nil {
		return err
	}
	packed, err := msgpack.Marshal([]any{process, number, latest, len(notes), counts})
	if err != nil {
		return err
	}
	counted, err := c.run(ctx, "count", latestNotes, texts, packed).Int()
	if err != nil {
		return err
	}
	if counted == 0 {
		return fmt.Errorf("another batch has taken over the notes of %s", batch)
	}
	return nil
}

// Uncounted tells which of the batches were not counted; with burn, they never will be.
func (c *Counters) Uncounted(ctx context.Context, batches []string, burn bool) ([]string, error) {
	var asked []any
	for _, batch := range batches {
		process, number, err := parts(batch)
		if err != nil {
			return nil, err
		}
		asked = append(asked, process, number)
	}
	packed, err := msgpack.Marshal(asked)
	if err != nil {
		return nil, err
	}
	operation := "look"
	if burn {
		operation = "burn"
	}
	counted, err := c.run(ctx, operation, packed).Int64Slice()
	if err != nil {
		return nil, err
	}
	var uncounted []string
	for i, batch := range batches {
		if counted[i] == 0 {
			uncounted = append(uncounted, batch)
		}
	}
	return uncounted, nil
}

func (c *Counters) run(ctx context.Context, arguments ...any) *redis.Cmd {
	return c.script.Run(ctx, c.client, keys, append([]any{processes, exceptions}, arguments...)...)
}

func parts(batch string) (process string, number int64, err error) {
	if len(batch) <= processDigits {
		return "", 0, fmt.Errorf("%q is no batch", batch)
	}
	number, err = strconv.ParseInt(batch[processDigits:], 16, 64)
	return batch[:processDigits], number, err
}

// latestOf is the JSON of the last notes of a batch.
func latestOf(notes []course.Note) ([]string, error) {
	notes = notes[max(0, len(notes)-latestNotes):]
	latest := make([]string, 0, len(notes))
	for _, note := range notes {
		entry, err := json.Marshal(struct {
			ID string `json:"id"`
			course.Fields
		}{note.ID.Hex(), note.Fields})
		if err != nil {
			return nil, err
		}
		latest = append(latest, string(entry))
	}
	return latest, nil
}
