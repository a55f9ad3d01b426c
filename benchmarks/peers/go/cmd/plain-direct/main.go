// Command plain-direct is route 2 as the exercise draws it: each request is one InsertOne and one Redis pipeline.
package main

import (
	"context"
	"encoding/json"
	"log"
	"os"

	"github.com/gin-gonic/gin"
	"github.com/redis/go-redis/v9"

	"courseload/benchmarks/peers/internal/course"
	"courseload/benchmarks/peers/internal/web"
)

// latestNotes is how many notes the list in Redis keeps, as in courseload's own.
const latestNotes = 100

// count pushes the note onto the capped list and raises its counters, in one round trip.
func count(ctx context.Context, client *redis.Client, note course.Note) error {
	entry, err := json.Marshal(gin.H{
		"id":       note.ID.Hex(),
		"curso":    note.Curso,
		"facultad": note.Facultad,
		"carrera":  note.Carrera,
		"region":   note.Region,
	})
	if err != nil {
		return err
	}
	_, err = client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.LPush(ctx, "notes:latest", entry)
		pipe.LTrim(ctx, "notes:latest", 0, latestNotes-1)
		pipe.Incr(ctx, "notes:count")
		pipe.HIncrBy(ctx, "notes:count:region", note.Region, 1)
		pipe.HIncrBy(ctx, "notes:count:facultad", note.Facultad, 1)
		pipe.HIncrBy(ctx, "notes:count:carrera", note.Carrera, 1)
		pipe.HIncrBy(ctx, "notes:count:curso", note.Curso, 1)
		return nil
	})
	return err
}

func main() {
	notes, err := course.Collection()
	if err != nil {
		log.Fatal(err)
	}
	options, err := redis.ParseURL(os.Getenv("REDIS_URL"))
	if err != nil {
		log.Fatal(err)
	}
	client := redis.NewClient(options)
	store := func(ctx context.Context, note course.Note) error {
		earlier, err := course.InsertOne(ctx, notes, course.NewDocument(note, "direct"))
		switch {
		case err != nil:
			return err
		case earlier == nil:
			return count(ctx, client, note)
		case !earlier.Same(note):
			return course.ErrConflict
		default:
			return nil
		}
	}
	ready := func(ctx context.Context) error {
		if err := course.Ready(ctx, notes); err != nil {
			return err
		}
		return client.Ping(ctx).Err()
	}
	router, err := web.Router("direct", store, ready)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(router.Run(":8020"))
}
