// Package course is the note: its rules, its id, and the collection it is stored in.
package course

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"regexp"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"
)

// ErrConflict is what a note meets under whose Idempotency-Key another note is stored.
var ErrConflict = errors.New("another note is stored under this Idempotency-Key")

// Fields is the body of POST /course: every field required, 1 to 128 characters, not only white space, nothing else.
type Fields struct {
	Curso    string `json:"curso"    bson:"curso"    binding:"required,max=128,notblank"`
	Facultad string `json:"facultad" bson:"facultad" binding:"required,max=128,notblank"`
	Carrera  string `json:"carrera"  bson:"carrera"  binding:"required,max=128,notblank"`
	Region   string `json:"region"   bson:"region"   binding:"required,max=128,notblank"`
}

// Note is a course note with the id of its document.
type Note struct {
	ID bson.ObjectID
	Fields
}

// Document is a stored note, with the same fields as courseload's own documents.
type Document struct {
	ID     bson.ObjectID `bson:"_id"`
	Fields `bson:",inline"`
	Route  string    `bson:"route"`
	At     time.Time `bson:"at"`
	Batch  string    `bson:"batch,omitempty"`
}

// NewDocument is the document of a note that is accepted now.
func NewDocument(note Note, route string) Document {
	return Document{ID: note.ID, Fields: note.Fields, Route: route, At: time.Now().UTC()}
}

var key = regexp.MustCompile(`^[\x21-\x7e]{1,128}$`)

// NewID is the id that an Idempotency-Key fixes, or a fresh one if there is no key.
func NewID(keys []string) (bson.ObjectID, error) {
	if len(keys) == 0 {
		return bson.NewObjectID(), nil
	}
	if len(keys) > 1 || !key.MatchString(keys[0]) {
		return bson.NilObjectID, errors.New("Idempotency-Key must be 1 to 128 visible ASCII characters")
	}
	sum := sha256.Sum256([]byte(keys[0]))
	return bson.ObjectID(sum[:12]), nil
}

// Collection connects to MONGODB_URI with the driver's default pool, and returns "notes" in MONGODB_DATABASE.
func Collection() (*mongo.Collection, error) {
	settings := options.Client().ApplyURI(os.Getenv("MONGODB_URI")).SetServerSelectionTimeout(time.Second)
	settings.SetWriteConcern(writeconcern.Majority())
	client, err := mongo.Connect(settings)
	if err != nil {
		return nil, fmt.Errorf("connecting to MongoDB: %w", err)
	}
	return client.Database(os.Getenv("MONGODB_DATABASE")).Collection("notes"), nil
}

// Ready tells what keeps the collection's database from answering, if anything does.
func Ready(ctx context.Context, notes *mongo.Collection) error {
	return notes.Database().Client().Ping(ctx, nil)
}
