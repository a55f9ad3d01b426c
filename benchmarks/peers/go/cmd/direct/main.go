// Command direct is route 2 with group commit: a batch is one InsertMany, then one call of the script in Redis.
package main

import (
	"context"
	"errors"
	"log"
	"maps"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"courseload/benchmarks/peers/internal/batch"
	"courseload/benchmarks/peers/internal/counters"
	"courseload/benchmarks/peers/internal/course"
	"courseload/benchmarks/peers/internal/web"
)

const (
	writesAtOnce = 2 // while Redis counts one batch, MongoDB can take the next
	grace        = 50 * time.Millisecond
)

type stores struct {
	notes    *mongo.Collection
	counters *counters.Counters
}

// put stores a batch and counts those of its notes that were not counted before.
//
// Every attempt has a name of its own, which is in its documents and which Redis remembers. So a document that is stored
// already tells whether its note was counted.
func (s *stores) put(ctx context.Context, notes []course.Note) (map[int]error, error) {
	name := s.counters.NextBatch()
	documents := make([]course.Document, len(notes))
	for i, note := range notes {
		documents[i] = course.NewDocument(note, "direct")
		documents[i].Batch = name
	}
	known, err := course.Insert(ctx, s.notes, documents)
	if err != nil {
		return nil, err
	}
	if len(known) == 0 {
		return nil, s.counters.Count(ctx, name, notes)
	}
	failures := make(map[int]error)
	var toCount []course.Note
	earlier := make(map[string][]course.Note) // by the batch they are in
	for i, note := range notes {
		switch document, ok := known[i]; {
		case !ok:
			toCount = append(toCount, note)
		case !document.Same(note):
			failures[i] = course.ErrConflict
		case document.Batch != name: // else it is twice in this batch
			earlier[document.Batch] = append(earlier[document.Batch], note)
		}
	}
	taken, err := s.takeOver(ctx, earlier, name)
	if err != nil {
		return nil, err
	}
	return failures, s.counters.Count(ctx, name, append(toCount, taken...))
}

// takeOver moves notes that were stored but not counted into a batch, and returns them. The batches they were in are
// burnt before: Redis will never count them, however late they come.
func (s *stores) takeOver(ctx context.Context, earlier map[string][]course.Note, name string) ([]course.Note, error) {
	if len(earlier) == 0 {
		return nil, nil
	}
	owners := make([]string, 0, len(earlier))
	for owner := range earlier {
		owners = append(owners, owner)
	}
	uncounted, err := s.counters.Uncounted(ctx, owners, false)
	if err != nil || len(uncounted) == 0 {
		return nil, err
	}
	time.Sleep(grace) // it may be on its way
	if uncounted, err = s.counters.Uncounted(ctx, uncounted, true); err != nil {
		return nil, err
	}
	var taken []course.Note
	for _, owner := range uncounted {
		notes := map[bson.ObjectID]course.Note{} // a note that came twice in this batch is one
		for _, note := range earlier[owner] {
			notes[note.ID] = note
		}
		ids := slices.Collect(maps.Keys(notes))
		done, err := s.notes.UpdateMany(ctx,
			bson.M{"_id": bson.M{"$in": ids}, "batch": owner}, bson.M{"$set": bson.M{"batch": name}})
		if err != nil {
			return nil, err
		}
		if int(done.MatchedCount) != len(ids) {
			return nil, errors.New("somebody else has taken the same notes over")
		}
		taken = slices.AppendSeq(taken, maps.Values(notes))
	}
	return taken, nil
}

func (s *stores) ready(ctx context.Context) error {
	if err := course.Ready(ctx, s.notes); err != nil {
		return err
	}
	return s.counters.Ping(ctx)
}

func main() {
	notes, err := course.Collection()
	if err != nil {
		log.Fatal(err)
	}
	counters, err := counters.Connect()
	if err != nil {
		log.Fatal(err)
	}
	s := &stores{notes, counters}
	router, err := web.Router("direct", batch.NewWriter(s.put, writesAtOnce).Store, s.ready)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(router.Run(":8020"))
}
